"""One file, the environment and the command line become settings; every fault is told at once."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from textwrap import dedent

import pytest

from skyferry.config.load import Checked, check, load
from skyferry.config.reading.faults import ConfigFault, ConfigFaults
from skyferry.config.reading.files import explain_unreadable
from skyferry.config.settings import Settings

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(text: str) -> Path:
        file = tmp_path / "skyferry.yaml"
        file.write_text(dedent(text))
        return file

    return written


# Nine in nine in nine ...: ten million values in 300 bytes.
BOMB = "\n".join(
    ["a0: &a0 [x,x,x,x,x,x,x,x,x]", *(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 8))]
)


def only(faults: tuple[ConfigFault, ...]) -> ConfigFault:
    assert len(faults) == 1, faults
    return faults[0]


def checked(file: Path | None = None, **environ: str) -> Checked:
    return check(file, environ)


# --- what is embedded ---


def test_no_configuration_at_all_mirrors_source_to_destination() -> None:
    settings = load(None, {})
    assert {name: s.url for name, s in settings.stores.items()} == {
        "source": "file://source",
        "destination": "file://destination",
    }
    [route] = settings.routes
    assert (route.name, route.source, route.destination) == ("default", "source", "destination")
    assert (route.key, route.deletes, route.after_copy) == ("{key}", "propagate", "keep")
    assert [(q.name, q.url) for q in settings.queues] == [("events", "sqlite://queue.db")]
    assert settings.ledger.url == "sqlite://ledger.db"
    assert settings.workspace == Path("skyferry-data")


def test_an_empty_file_is_no_configuration(write: Write) -> None:
    assert load(write("# nothing yet\n"), {}) == load(None, {})


def test_routes_without_queue_and_ledger_get_the_embedded_ones(write: Write) -> None:
    settings = load(
        write("""
            stores: {a: {url: "file://a"}, b: {url: "memory://b"}}
            routes: [{name: r, from: a, to: b}]
        """),
        {},
    )
    assert set(settings.stores) == {"a", "b"}
    assert settings.queues[0].url == "sqlite://queue.db"


def test_the_embedded_stores_can_be_changed_without_repeating_the_route(write: Write) -> None:
    settings = load(write("stores: {destination: {url: 'sim://destination?throttle=0.1'}}"), {})
    assert settings.stores["source"].url == "file://source"
    assert settings.stores["destination"].url == "sim://destination?throttle=0.1"
    assert settings.routes[0].name == "default"


def test_other_stores_without_routes_get_a_warning_and_no_route(write: Write) -> None:
    found = checked(write("stores: {mine: {url: 'file://x'}}"))
    assert found.settings.routes == ()
    assert "nothing is copied" in only(found.warnings).message


def test_urls_in_routes_become_stores(write: Write) -> None:
    settings = load(
        write("""
            stores: {in: {url: "file://in"}}
            routes:
              - {name: a, from: "file://in", to: "file://out"}
              - {name: b, from: in, to: "file:///srv/out2"}
        """),
        {},
    )
    assert {name: s.url for name, s in settings.stores.items()} == {
        "in": "file://in",
        "file://out": "file://out",
        "file:///srv/out2": "file:///srv/out2",
    }
    assert [(r.source, r.destination) for r in settings.routes] == [("in", "file://out"), ("in", "file:///srv/out2")]


# --- the environment and the command line ---


def test_the_environment_overrides_the_file_and_the_command_line_overrides_both(write: Write) -> None:
    file = write("{workspace: a, drain: 1s, limits: {memory: 64MiB}, server: {listen: '127.0.0.1:1'}}")
    environ = {"SKYFERRY_WORKSPACE": "b", "SKYFERRY_LIMITS__BATCH": "7", "SKYFERRY_SERVER__LISTEN": "127.0.0.1:2"}
    settings = load(file, environ, workspace=Path("c"), listen="[::1]:3")
    assert (settings.workspace, settings.server.listen) == (Path("c"), "[::1]:3")
    assert (settings.drain, settings.limits.memory, settings.limits.batch) == (1.0, 64 * 2**20, 7)
    assert load(file, environ).workspace == Path("b")


def test_a_variable_reaches_into_the_embedded_default() -> None:
    found = load(None, {"SKYFERRY_ROUTES__0__DELETES": "ignore", "SKYFERRY_STORES__SOURCE__URL": "file:///in"})
    assert found.routes[0].deletes == "ignore"
    assert found.stores["source"].url == "file:///in"


def test_a_variable_means_a_name_with_hyphens_too(write: Write) -> None:
    file = write("{stores: {my-in: {url: 'file://x'}}, routes: [{name: r, from: my-in, to: 'file://y'}]}")
    assert load(file, {"SKYFERRY_STORES__MY_IN__BUCKET": "z"}).stores["my-in"].bucket == "z"


def test_lists_and_maps_in_variables_are_yaml() -> None:
    found = load(None, {"SKYFERRY_ROUTES": '[{name: r, from: source, to: "file://z", filter: {glob: ["*.c"]}}]'})
    assert [(r.name, r.filter.glob) for r in found.routes] == [("r", ("*.c",))]


def test_an_empty_variable_counts_as_not_set() -> None:
    settings = load(None, {"SKYFERRY_SERVER__TOKEN": "", "SKYFERRY_DRAIN": " "})
    assert (settings.server.token, settings.drain) == (None, 25.0)


def test_a_token_is_never_read_as_yaml_and_never_shown() -> None:
    token = "{hunter2: [}"
    settings = load(None, {"SKYFERRY_SERVER__TOKEN": token})
    assert settings.server.token is not None
    assert settings.server.token.reveal() == token
    assert "hunter2" not in repr(settings)


def test_variables_that_others_set_are_left_alone() -> None:
    found = checked(
        SKYFERRY_PORT="tcp://10.0.0.1:80",
        SKYFERRY_SERVICE_HOST="10.0.0.1",
        SKYFERRY_SERVICE_PORT_HTTP="80",
        SKYFERRY_PORT_8080_TCP_PROTO="tcp",
        SKYFERRY_SERVER_SERVICE_HOST="10.0.0.1",
        SKYFERRY_SERVER_PORT="tcp://10.0.0.1:80",
        SKYFERRY_SERVERS="/opt/servers",
        PATH="/bin",
    )
    assert (found.faults, found.warnings) == ((), ())


def test_a_variable_that_is_nearly_a_setting_is_a_warning() -> None:
    found = checked(SKYFERRY_DRIAN="3s")
    assert only(found.warnings) == ConfigFault(
        "SKYFERRY_DRIAN", "is ignored, for there is no such setting", "Did you mean drain?"
    )


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("SKYFERRY_LOG_LEVEL", "Two underscores separate the parts. Did you mean SKYFERRY_LOG__LEVEL?"),
        ("SKYFERRY_STORES_INBOX_URL", "Two underscores separate the parts."),
        ("SKYFERRY_LIMIT_MEMORY", "Two underscores separate the parts. Did you mean SKYFERRY_LIMITS__MEMORY?"),
        ("SKYFERRY_EVENTLOOP", "Did you mean event_loop?"),
        ("SKYFERRY_CONFG", "Did you mean config?"),
    ],
)
def test_a_variable_with_one_underscore_is_a_warning(variable: str, hint: str) -> None:
    found = check(None, {variable: "debug"})
    assert only(found.warnings) == ConfigFault(variable, "is ignored, for there is no such setting", hint)


def test_an_item_of_a_list_has_a_number_in_a_variable() -> None:
    """Not its name, as stores have."""
    found = check(None, {"SKYFERRY_ROUTES__TABLES__PRIORITY": "low"})
    assert only(found.faults) == ConfigFault(
        "SKYFERRY_ROUTES__TABLES__PRIORITY",
        "names an item of routes, which is a list",
        "Write its number, as in SKYFERRY_ROUTES__0__PRIORITY.",
    )


def test_items_by_name_are_no_list(tmp_path: Path) -> None:
    """In the file or in a variable, also where another variable changes an item."""
    items = "{r: {name: r, from: a, to: b}}"
    (tmp_path / "c.yaml").write_text(f"stores: {{a: {{url: file://a}}, b: {{url: file://b}}}}\nroutes: {items}\n")
    for file, more in ((tmp_path / "c.yaml", {}), (None, {"SKYFERRY_ROUTES": items})):
        fault = only(check(file, {"SKYFERRY_ROUTES__0__PRIORITY": "low", **more}).faults)
        assert fault.message == "must be a list"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workspace: ~/data", "has ~ for the home folder, which only a shell replaces"),
        ("workspace: $HOME/data", "has $HOME, and variables are not replaced"),
        ("stores: {source: {url: file://~/a}}", "has ~ for the home folder"),
        ('stores: {source: {url: "s3://${BUCKET}"}}', "has ${BUCKET}, and variables are not replaced"),
        ("stores:\n  source: {url:file://a}", "'url:file://a' has no space after the colon"),
    ],
)
def test_what_only_a_shell_would_replace_is_a_fault(tmp_path: Path, text: str, message: str) -> None:
    """Otherwise it would be a new folder of this very name."""
    (tmp_path / "c.yaml").write_text(f"{text}\n")
    assert message in only(check(tmp_path / "c.yaml", {}).faults).message


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("SKYFERRY_LIMITS__MEMROY", "1", "is not a setting"),
        ("SKYFERRY_LIMIT__MEMORY", "1", "sets an unknown setting"),
        ("SKYFERRY_DRAIN", "soon", "'soon' is not a duration"),
        ("SKYFERRY_ROUTES", "[{name: r", "is not YAML"),
    ],
)
def test_a_fault_in_the_environment_names_the_variable(variable: str, value: str, message: str) -> None:
    fault = only(check(None, {variable: value}).faults)
    assert (fault.where, fault.line) == (variable, None)
    assert message in fault.message


# --- faults ---


def test_every_fault_is_reported_at_once_with_its_line(write: Write) -> None:
    file = write("""\
        worksapce: x
        stores:
          a: {url: "file://a"}
          bad:
            url: s4://bucket
        limits:
          memory: 1MiB
        routes:
          - name: one
            from: aa
            to: bad
            keey: x
          - name: one
            from: a
            to: bad
            filter:
              min_size: big
              glob: "**.csv"
          - to: a
        """)
    with pytest.raises(ConfigFaults) as caught:
        load(file, {})
    assert [(f.line, f.where, f.hint) for f in caught.value.faults if f.line not in (5, 17, 18)] == [
        (1, "worksapce", "Did you mean workspace?"),
        (7, "limits.memory", "Set at least 16777216, or a smaller part_size."),
        (10, "routes[0].from", "Did you mean a?"),
        (12, "routes[0].keey", "Did you mean key?"),
        (13, "routes[1].name", ""),
        (19, "routes[2].name", ""),
        (19, "routes[2].from", ""),
    ]
    assert {f.line: f.where for f in caught.value.faults}.items() >= {
        5: "stores.bad.url",
        17: "routes[1].filter.min_size",
        18: "routes[1].filter.glob",
    }.items()
    assert str(caught.value).startswith(f"{file}: 10 faults\n  line 1, worksapce: is not a setting. Did you mean")


@pytest.mark.parametrize(
    ("text", "where", "line", "message"),
    [
        ("a: b\n  c: [", "skyferry.yaml", 2, "is not YAML"),
        ("drain: 1s\n\nfilter: [*.csv]", "skyferry.yaml", 3, "is not YAML"),
        ("a: &x [*x]", "skyferry.yaml", 1, "refers to itself"),
        ("a: !!python/name:os.system x", "skyferry.yaml", 1, "is not YAML"),
        ("- " * 60_000, "skyferry.yaml", None, "nested too deeply"),
        (BOMB, "skyferry.yaml", 1, "more than 100,000 values"),
        ("drain: 1s\nworkspace: 2026-02-31", "skyferry.yaml", 2, "'2026-02-31' needs quotes"),
        ("drain: !!int one", "skyferry.yaml", 1, "'one' needs quotes"),
        ('workspace: "a\\0b"', "workspace", 1, "the character U+0000, which no path has"),
        ('workspace: ""', "workspace", 1, "is empty"),
        ('workspace: "a\\ud800"', "skyferry.yaml", 1, "half of a character"),
        ("drain: .inf", "drain", 1, "finite"),
        ("drain: \x01", "skyferry.yaml", None, "the character U+0001"),
        ("- a", "configuration", None, "contains no settings"),
        ("drain: 1s\nlog: {}\ndrain: 2s", "drain", 3, "given twice"),
        ("server: {token: hunter2}", "server.token", 1, "the file must not contain a secret"),
        ("stores:\n  source:\n", "stores.source.url", 2, "is missing"),
        ("drain: 1s\nroutes: 3", "routes", 2, "must be a list"),
        ("limits: 3", "limits", 1, "must be a section"),
        ('stores: {a: {url: "gs://a", billing_project: "p\\nq"}}', "stores.a.billing_project", 1, "control characters"),
        ("retry: {max_retries: 11}", "retry.max_retries", 1, "less than or equal to 10, not 11"),
        ("ledger: {lease: 0}", "ledger.lease", 1, "greater than or equal to 0.1"),
    ],
)
def test_a_file_that_cannot_be_settings(write: Write, text: str, where: str, line: int | None, message: str) -> None:
    fault = only(checked(write(text)).faults)
    assert (fault.where, fault.line) == (where, line)
    assert message in fault.message


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    """It says what, where, and what to do."""
    (absent,) = checked(tmp_path / "absent.yaml").faults
    assert (absent.message, absent.hint) == ("does not exist", f"The current folder is {Path.cwd()}.")
    (folder,) = checked(tmp_path).faults
    assert (folder.where, folder.message) == (str(tmp_path), "is a folder, not a file")
    assert folder.hint == "Name a file, such as skyferry.yaml."
    (tmp_path / "fleet.yml").touch()
    assert only(checked(tmp_path).faults).hint == f"Name the file in it, such as {tmp_path / 'fleet.yml'}."
    assert only(checked(tmp_path / "fleet.yaml").faults).hint == f"Did you mean {tmp_path / 'fleet.yml'}?"
    assert only(checked(tmp_path / "fleet.yml" / "x").faults).message == "does not exist"
    denied = explain_unreadable(tmp_path / "fleet.yml", PermissionError(errno.EACCES, "Permission denied"))
    assert str(denied).endswith(
        "cannot be read: Permission denied. Give this user read access to the file and its folders."
    )


@pytest.mark.parametrize(
    ("data", "message", "hint", "line"),
    [
        (b"drain: 1s\n# caf\xe9\n", "is not a text in UTF-8: invalid continuation byte", "Save it as UTF-8", 2),
        ("drain: 1s\n".encode("utf-16-le"), "it has the character U+0000", "save the file as UTF-8", None),
        (b"\x89PNG\r\n\x1a\n", "is not a text in UTF-8: invalid start byte", "name another file", 1),
    ],
)
def test_a_file_in_another_encoding_is_named(
    tmp_path: Path, data: bytes, message: str, hint: str, line: int | None
) -> None:
    (tmp_path / "skyferry.yaml").write_bytes(data)
    fault = only(checked(tmp_path / "skyferry.yaml").faults)
    assert (message in fault.message, hint in fault.hint, fault.line) == (True, True, line)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_mark_of_the_encoding_is_accepted(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "skyferry.yaml").write_text("drain: 3s\n", encoding)
    assert load(tmp_path / "skyferry.yaml", {}).drain == 3.0


def test_an_empty_file_is_noticed(tmp_path: Path) -> None:
    """It is accepted, as one whose lines are all comments."""
    (tmp_path / "skyferry.yaml").write_text("# workspace: data\n")
    found = checked(tmp_path / "skyferry.yaml")
    assert found.faults == ()
    assert only(found.warnings).message == "the file is empty, so the embedded default is used"


@pytest.mark.parametrize("below", ["", "below"])
def test_a_workspace_that_is_a_file_is_a_fault(tmp_path: Path, below: str) -> None:
    (tmp_path / "data").touch()
    found = check(None, {}, tmp_path / "data" / below)
    assert (only(found.faults).where, only(found.faults).message) == (
        "--workspace",
        f"{tmp_path / 'data'} is a file, not a folder",
    )
    assert check(None, {}, tmp_path / "absent" / below).faults == ()


def test_yaml_anchors_and_merges_work(write: Write) -> None:
    settings = load(
        write("""
            stores:
              source: &base {url: "file://source", requests_per_second: 5}
              destination: {<<: *base, url: "file://destination"}
        """),
        {},
    )
    assert settings.stores["destination"].requests_per_second == 5
    assert settings.stores["destination"].url == "file://destination"


def test_numbers_where_text_is_wanted_are_text_and_one_glob_is_a_list(write: Write) -> None:
    settings = load(
        write("""
            routes:
              - {name: r, from: "file://2024", to: "file://out", metadata: {year: 2024}, filter: {glob: "*.c"}}
        """),
        {},
    )
    assert settings.routes[0].metadata == {"year": "2024"}
    assert settings.routes[0].filter.glob == ("*.c",)


def test_settings_cannot_be_changed() -> None:
    settings: Settings = load(None, {})
    with pytest.raises(FrozenInstanceError, match="frozen"):
        settings.drain = 3.0  # type: ignore[misc]  # what the test is about
