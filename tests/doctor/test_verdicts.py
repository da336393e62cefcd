"""The checks made of the reported settings. No server: these are pure."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from skyferry.config.identity import IdentitySettings
from skyferry.config.settings import FilterSettings, RouteSettings
from skyferry.doctor import CheckState, facts
from skyferry.doctor import leases as holds
from skyferry.doctor.check import WHAT, Check, CheckSubject
from skyferry.doctor.copy_time import ReadSpeed
from skyferry.doctor.events import notifications as notices
from skyferry.doctor.events.listening import ListeningPlan, may_listen, plan_listening
from skyferry.doctor.requirements import KeyShape, StoreRequirements, key_shapes
from skyferry.model import ObjectMeta, QueueTraits
from skyferry.ports.inspection import BucketFacts, Notice, QueueFacts, Redrive, Unknown
from skyferry.queues.sqs.inspection import senders
from skyferry.stores.s3.inspection import notices as s3_notices

NOBODY = Unknown("not reported")
BUCKET = BucketFacts("https://x", "me", "here", "off", "none", (), 0.0, NOBODY)
QUEUE = QueueFacts("https://q", "me", "arn:q", None, NOBODY, "none", frozenset({"s3.amazonaws.com"}))
NOTICE = Notice("arn:q", direct=True, created=True, deleted=True, events=("all",))
PLACE = CheckSubject("queue", "q")


def route(deletes: str = "ignore", /, **wanted: Any) -> RouteSettings:
    document = {"name": "r", "from": "a", "to": "b", "deletes": deletes, "filter": wanted}
    return RouteSettings.model_validate(document)


def state(
    reported: tuple[Notice, ...] | Unknown,
    wanted: RouteSettings | None = None,
    queue: QueueFacts | Unknown = QUEUE,
    *doors: str,
) -> dict[str, CheckState]:
    found = list(notices.check_notifications(wanted or route(), reported, {"q": queue}, doors))
    assert all(check.hint for check in found if check.state is CheckState.WRONG)
    return {check.name: check.state for check in found}


@pytest.mark.parametrize(
    ("wanted", "reported", "expected"),
    [
        ({}, (NOTICE,), CheckState.OK),
        ({"prefix": "raw/x"}, (replace(NOTICE, prefix="raw/"),), CheckState.OK),
        ({"prefix": "ra"}, (replace(NOTICE, prefix="raw/"),), CheckState.WRONG),
        ({"suffix": ".jpg"}, (replace(NOTICE, suffix="g"),), CheckState.OK),
        ({}, (replace(NOTICE, suffix=".jpg"),), CheckState.WRONG),
        ({"glob": ["a/**/*.jpg"]}, (replace(NOTICE, prefix="a/", suffix=".jpg"),), CheckState.OK),
        ({"glob": ["a/*", "b/*"]}, (replace(NOTICE, prefix="a/"),), CheckState.WRONG),
        ({"glob": ["a/*", "b/*"]}, (replace(NOTICE, prefix="a/"), replace(NOTICE, prefix="b/")), CheckState.OK),
        ({}, (replace(NOTICE, created=False),), CheckState.WRONG),
        ({}, (), CheckState.WRONG),
        ({}, (replace(NOTICE, target="arn:other"),), CheckState.WRONG),
        ({}, (replace(NOTICE, target="arn:topic", direct=False),), CheckState.UNKNOWN),
        ({}, NOBODY, CheckState.UNKNOWN),
    ],
)
def test_every_key_of_a_route_needs_a_notification(
    wanted: dict[str, Any], reported: tuple[Notice, ...] | Unknown, expected: CheckState
) -> None:
    """By one notice each; what cannot be seen is not known, and no fault."""
    assert state(reported, route(**wanted))["notified"] is expected


def test_deletes_matter_to_routes_that_propagate_them_only() -> None:
    silent = (replace(NOTICE, deleted=False),)
    assert "deletes" not in state(silent)
    assert state(silent, route("propagate"))["deletes"] is CheckState.WRONG
    assert state((NOTICE,), route("propagate"))["deletes"] is CheckState.OK


def test_a_queue_without_such_a_report_is_no_fault() -> None:
    """Nor does a push door, nor a configuration whose events are all submitted."""
    assert state((NOTICE,), None, NOBODY)["notified"] is CheckState.UNKNOWN
    assert state((replace(NOTICE, target="t"),), None, QUEUE, "door")["notified"] is CheckState.UNKNOWN
    assert [c.state for c in notices.check_notifications(route(), (), {}, ())] == [CheckState.UNKNOWN]


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        ({"*"}, CheckState.OK),
        ({"s3.amazonaws.com"}, CheckState.OK),
        (set(), CheckState.WRONG),
        ({"sns.amazonaws.com"}, CheckState.WRONG),
    ],
)
def test_the_queue_s_policy_must_let_the_bucket_send(allowed: set[str], expected: CheckState) -> None:
    assert state((NOTICE,), None, replace(QUEUE, senders=frozenset(allowed)))["sender"] is expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (None, CheckState.OK),
        (NOBODY, CheckState.UNKNOWN),
        (Redrive(4, "dead"), CheckState.WRONG),
        (Redrive(5, "dead"), CheckState.OK),
    ],
)
def test_a_queue_must_leave_as_many_receives_as_waiting_takes(
    policy: Redrive | Unknown | None, expected: CheckState
) -> None:
    """The first, two without room, one after twelve hours, one after a restart."""
    assert holds.check_redrive_policy(PLACE, policy, 12 * 3600).state is expected


def test_a_queue_that_lets_hold_for_ever_needs_no_receive_for_it() -> None:
    """As Pub/Sub."""
    assert holds.check_redrive_policy(PLACE, Redrive(4, "dead"), math.inf).state is CheckState.OK
    assert holds.check_redrive_policy(PLACE, Redrive(3, "dead"), math.inf).state is CheckState.WRONG


def test_a_lease_must_outlast_its_renewals() -> None:
    """Ten requests; how long a copy takes does not matter, and where there is a last end, it is said."""
    assert holds.check_lease(PLACE, 30, 3.0).state is CheckState.OK
    slow = holds.check_lease(PLACE, 30, 3.1)
    assert (slow.state, slow.hint) == (CheckState.WRONG, "Set the lease of the queue to at least 31s.")
    assert "12 hours" in holds.check_lease(PLACE, 30, 0.1, 12 * 3600).detail
    assert "hours" not in holds.check_lease(PLACE, 30, 0.1, math.inf).detail


@pytest.mark.parametrize(
    ("seconds", "longest", "expected", "words"),
    [
        (60, math.inf, CheckState.OK, "within the lease of 60 s"),
        (
            61,
            math.inf,
            CheckState.OK,
            "renewed every 20 s; if its worker dies or hangs, the message is redelivered within",
        ),
        (30 * 86400, math.inf, CheckState.OK, "about 720 hours for"),
        (6 * 3600 - 1, 12 * 3600, CheckState.OK, "about 6 hours for"),
        (6 * 3600, 12 * 3600, CheckState.UNKNOWN, "can be leased for at most 12 hours"),
    ],
)
def test_the_lease_is_held_against_the_expected_time_of_a_copy(
    seconds: float, longest: float, expected: CheckState, words: str
) -> None:
    """Longer is right where leases are renewed; near the end of all renewing it is something to know, and what to do."""
    pace = ReadSpeed("photos", "a.mov", size=8 * 2**20, read=2**20, took=seconds / 8)
    found = holds.check_copy_time(PLACE, 60, pace, longest)
    assert (found.state, words in found.detail, bool(found.hint)) == (expected, True, expected is CheckState.UNKNOWN)
    assert "a.mov at photos" in found.detail


def test_without_an_object_nothing_is_expected() -> None:
    """And of an empty one, the time that reading it took."""
    assert holds.check_copy_time(PLACE, 60, None).state is CheckState.UNKNOWN
    assert ReadSpeed("photos", "empty", 0, 0, 0.5).seconds == 0.5
    assert "less than 1 s" in holds.check_copy_time(PLACE, 60, ReadSpeed("photos", "empty", 0, 0, 0.0)).detail


@pytest.mark.parametrize(
    ("size", "words"), [(11, "(11 B): "), (2**20 - 1, "(1,048,575 B): "), (2**20, "(1.0 MiB, read at 2.0 MiB/s): ")]
)
def test_the_speed_is_reported_from_1_mib_on(size: int, words: str) -> None:
    """A smaller one takes the time of a request, so its speed says nothing."""
    assert words in holds.check_copy_time(PLACE, 60, ReadSpeed("photos", "a.txt", size, size, 0.5)).detail


def test_only_what_a_route_takes_counts() -> None:
    """By its key and its size."""
    taken = StoreRequirements("a", reads=("",), filters=(FilterSettings(suffix=".x", min_size=2, max_size=4),)).taken()
    wanted = [taken(ObjectMeta(key, size, "v", 0.0)) for key, size in (("a.x", 2), ("a.x", 1), ("a.x", 5), ("a.y", 3))]
    assert wanted == [True, False, False, False]


@pytest.mark.parametrize(
    ("skew", "expected"), [(59.0, CheckState.OK), (-61.0, CheckState.WRONG), (NOBODY, CheckState.UNKNOWN)]
)
def test_clocks_may_differ_by_a_minute(skew: float | Unknown, expected: CheckState) -> None:
    assert facts.check_clock(PLACE, skew).state is expected


def test_retention_is_a_fault_where_deletes_are_needed() -> None:
    """And something to know at any other destination."""

    def found(needs: StoreRequirements) -> list[Check]:
        judged = facts.check_bucket_facts(PLACE, replace(BUCKET, kept="a retention policy"), needs)
        return [check for check in judged if check.name == "retention"]

    assert found(StoreRequirements("b", reads=("",))) == []
    assert found(StoreRequirements("b", writes=True))[0].state is CheckState.UNKNOWN
    assert found(StoreRequirements("b", writes=True, deletes=True))[0].state is CheckState.WRONG
    assert found(StoreRequirements("b", reads=("",), removes=True))[0].state is CheckState.WRONG


def test_what_the_provider_says_counts_where_nothing_is_tried() -> None:
    reported = replace(BUCKET, allowed=frozenset({"write"}))
    states = [facts.check_permission(PLACE, right, reported, "").state for right in ("write", "delete")]
    assert states == [CheckState.OK, CheckState.WRONG]
    assert facts.check_permission(PLACE, "write", BUCKET, "").state is CheckState.UNKNOWN


def test_a_glob_counts_as_far_as_it_is_fixed() -> None:
    assert key_shapes(FilterSettings(glob=("a/b*.jp[e]g", "c"), prefix="a/")) == [
        KeyShape("a/b", "g"),
        KeyShape("a/", "c"),
    ]
    assert key_shapes(FilterSettings()) == [KeyShape()]


def test_s3_s_notifications_are_read() -> None:
    """Queues, topics and functions, with filters; some ways to create are not all."""
    document = """<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
      <QueueConfiguration><Id>1</Id><Queue>arn:q</Queue><Event>s3:ObjectCreated:*</Event>
        <Event>s3:ObjectRemoved:Delete</Event><Event>s3:ObjectRemoved:DeleteMarkerCreated</Event>
        <Filter><S3Key><FilterRule><Name>Prefix</Name><Value>a/</Value></FilterRule>
          <FilterRule><Name>suffix</Name><Value>.x</Value></FilterRule></S3Key></Filter></QueueConfiguration>
      <TopicConfiguration><Topic>arn:t</Topic><Event>s3:ObjectCreated:Put</Event></TopicConfiguration>
      <EventBridgeConfiguration/></NotificationConfiguration>"""
    queue, topic, bus = s3_notices(ElementTree.fromstring(document))
    assert (queue.target, queue.direct, queue.created, queue.deleted) == ("arn:q", True, True, True)
    assert (queue.prefix, queue.suffix) == ("a/", ".x")
    assert (topic.target, topic.direct, topic.created, topic.deleted) == ("arn:t", False, False, False)
    assert (bus.target, bus.direct) == ("EventBridge", False)


def test_a_policy_s_senders_are_read() -> None:
    """In any form. A denied identity, or one with another right, is none."""
    send = {"Effect": "Allow", "Action": ["SQS:SendMessage"], "Resource": "*"}
    statements = [
        {**send, "Principal": {"Service": ["s3.amazonaws.com", "sns.amazonaws.com"]}},
        {**send, "Principal": "*", "Effect": "Deny"},
        {**send, "Principal": {"AWS": "arn:aws:iam::1:root"}, "Action": "sqs:ReceiveMessage"},
    ]
    assert list(senders({"Statement": statements})) == ["s3.amazonaws.com", "sns.amazonaws.com"]
    assert list(senders({"Statement": {**send, "Principal": {"AWS": "*"}}})) == ["*"]


def test_a_queue_that_pushes_elsewhere_or_may_not_be_received_from_is_wrong() -> None:
    found = {c.name: c for c in holds.check_queue_facts(PLACE, replace(QUEUE, receives=False))}
    assert found["receive"].state is CheckState.WRONG


@pytest.mark.parametrize(
    ("may", "expected"), [(True, CheckState.OK), (False, CheckState.WRONG), (NOBODY, CheckState.UNKNOWN)]
)
def test_the_right_to_send_dead_letters_is_checked_if_the_provider_reports_it(
    may: bool | Unknown, expected: CheckState
) -> None:
    found = holds.check_sending(PLACE, may)
    assert (found.name, found.state, bool(found.hint)) == ("send", expected, expected is not CheckState.OK)


def test_each_name_has_words() -> None:
    """And no two the same."""
    assert len(set(WHAT.values())) == len(WHAT)


def test_where_a_canary_is_heard() -> None:
    """At the queue that the bucket notifies, with a key that its filter takes; at all queues if none is known; else nowhere."""
    wanted = route(prefix="raw/2026/")
    reported = (replace(NOTICE, prefix="raw/", suffix=".x", deleted=False),)
    gone, other = Unknown("it was not reached"), replace(QUEUE, address="arn:other")
    queues: dict[str, QueueFacts | Unknown] = {"q": QUEUE, "other": other, "gone": gone}
    assert plan_listening(wanted, reported, queues) == ListeningPlan(["q"], KeyShape("raw/", ".x"), deletes=False)
    assert plan_listening(wanted, NOBODY, queues) == ListeningPlan(["q", "other"], KeyShape("raw/2026/"))
    assert plan_listening(wanted, (replace(NOTICE, direct=False),), queues) == ListeningPlan(
        ["q", "other"], KeyShape("raw/2026/")
    )
    assert (
        plan_listening(wanted, (), queues)
        == plan_listening(wanted, (replace(NOTICE, target="x"),), queues)
        == ListeningPlan()
    )


@pytest.mark.parametrize(
    ("policy", "waiting", "may"),
    [
        (None, 9, True),
        (Redrive(5, "d"), 9, False),
        (Redrive(5, "d"), 0, True),
        (Redrive(5, "d"), -1, False),
        (Redrive(6, "d"), 9, True),
    ],
)
def test_no_message_is_received_that_its_queue_would_take_away_for_it(
    policy: Redrive | None, waiting: int, may: bool
) -> None:
    """To wait takes five receives, and to listen takes one more of each message that waits."""
    assert may_listen(replace(QUEUE, redrive=policy, traits=QueueTraits(max_hold=12 * 3600)), waiting) is may


def test_the_configured_identity_is_shown_if_the_provider_reports_none() -> None:
    """For a federated identity, its names. A reported identity is left unchanged."""
    who = IdentitySettings(kind="federated", token="aws", pool="clouds", provider="aws", service_account="a@b")
    asked = PLACE.unknown("identity", "not reported")
    assert (
        facts.add_configured_identity(asked, who).detail
        == "not reported; by the settings: federated a@b pool clouds/aws"
    )
    reported = PLACE.ok("identity", "me")
    assert facts.add_configured_identity(reported, who) == reported
