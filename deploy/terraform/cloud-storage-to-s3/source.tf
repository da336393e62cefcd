# Google Cloud: topics, subscriptions, what fills them, and the service account of the worker.

data "google_project" "current" {
  project_id = var.project
}

resource "google_project_service" "needed" {
  for_each           = toset(["iam", "monitoring", "pubsub", "storage"])
  service            = "${each.key}.googleapis.com"
  disable_on_destroy = false
}

data "google_storage_project_service_account" "agent" {
  depends_on = [google_project_service.needed]
}

locals {
  pubsub_agent = "serviceAccount:service-${data.google_project.current.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
  objects      = "projects/_/buckets/${var.source_bucket}/objects"
}

# Pub/Sub itself uses the key.
resource "google_kms_crypto_key_iam_member" "topics" {
  count         = var.pubsub_kms_key == null ? 0 : 1
  crypto_key_id = var.pubsub_kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = local.pubsub_agent
}

resource "google_pubsub_topic" "events" {
  name         = "${var.name}-events"
  kms_key_name = var.pubsub_kms_key
  depends_on   = [google_project_service.needed, google_kms_crypto_key_iam_member.topics]
}

# For dead letters of Skyferry, and for messages that no worker could finish.
resource "google_pubsub_topic" "dead" {
  name         = "${var.name}-dead"
  kms_key_name = var.pubsub_kms_key
  depends_on   = [google_project_service.needed, google_kms_crypto_key_iam_member.topics]
}

resource "google_pubsub_subscription" "events" {
  name                       = "${var.name}-events"
  topic                      = google_pubsub_topic.events.id
  ack_deadline_seconds       = 60
  message_retention_duration = "604800s" # 7 days

  expiration_policy {
    ttl = "" # never
  }

  # An outage of 12 hours needs up to 76 deliveries, because a message is held for 10 minutes at most.
  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead.id
    max_delivery_attempts = 100
  }
}

resource "google_pubsub_subscription" "dead" {
  name                       = "${var.name}-dead"
  topic                      = google_pubsub_topic.dead.id
  ack_deadline_seconds       = 60
  message_retention_duration = "2678400s" # 31 days, the longest

  expiration_policy {
    ttl = ""
  }
}

# Pub/Sub itself moves messages to the topic of dead letters.
resource "google_pubsub_topic_iam_member" "dead" {
  topic  = google_pubsub_topic.dead.id
  role   = "roles/pubsub.publisher"
  member = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "dead" {
  subscription = google_pubsub_subscription.events.id
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}

resource "google_pubsub_topic_iam_member" "events" {
  topic  = google_pubsub_topic.events.id
  role   = "roles/pubsub.publisher"
  member = "serviceAccount:${data.google_storage_project_service_account.agent.email_address}"
}

resource "google_storage_notification" "source" {
  bucket             = var.source_bucket
  topic              = google_pubsub_topic.events.id
  payload_format     = "JSON_API_V1"
  object_name_prefix = var.prefix == "" ? null : var.prefix
  depends_on         = [google_pubsub_topic_iam_member.events, google_pubsub_subscription.events]
}

resource "google_service_account" "worker" {
  account_id   = var.name
  display_name = "Skyferry"
  depends_on   = [google_project_service.needed]
}

# The pods of GKE act as the service account: annotate theirs with iam.gke.io/gcp-service-account.
resource "google_service_account_iam_member" "pods" {
  count              = var.gke_service_account == null ? 0 : 1
  service_account_id = google_service_account.worker.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project}.svc.id.goog[${var.gke_service_account}]"
}

# What `skyferry policy` prints for the configuration in outputs.tf.
locals {
  roles = {
    list = ["storage.objects.list"]
    read = ["storage.objects.get"]
    take = ["pubsub.subscriptions.consume"]
    send = ["pubsub.topics.publish"]
  }
}

resource "google_project_iam_custom_role" "worker" {
  for_each    = local.roles
  role_id     = "skyferry_${each.key}"
  title       = "skyferry_${each.key}"
  stage       = "GA"
  permissions = each.value
  depends_on  = [google_project_service.needed]
}

resource "google_storage_bucket_iam_member" "list" {
  bucket = var.source_bucket
  role   = google_project_iam_custom_role.worker["list"].name
  member = google_service_account.worker.member
}

resource "google_storage_bucket_iam_member" "read" {
  bucket = var.source_bucket
  role   = google_project_iam_custom_role.worker["read"].name
  member = google_service_account.worker.member

  dynamic "condition" {
    for_each = compact([var.prefix])
    content {
      title      = "skyferry"
      expression = "resource.name.startsWith(\"${local.objects}/${condition.value}\")"
    }
  }
}

resource "google_pubsub_subscription_iam_member" "worker" {
  for_each     = { events = google_pubsub_subscription.events.id, dead = google_pubsub_subscription.dead.id }
  subscription = each.value
  role         = google_project_iam_custom_role.worker["take"].name
  member       = google_service_account.worker.member
}

resource "google_pubsub_topic_iam_member" "worker" {
  topic  = google_pubsub_topic.dead.id
  role   = google_project_iam_custom_role.worker["send"].name
  member = google_service_account.worker.member
}

resource "google_monitoring_alert_policy" "age" {
  display_name          = "${var.name}: events wait"
  combiner              = "OR"
  notification_channels = var.notification_channels

  conditions {
    display_name = "The oldest event waits longer than ${var.objective_seconds} s"
    condition_threshold {
      filter          = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"${google_pubsub_subscription.events.name}\" AND metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\""
      comparison      = "COMPARISON_GT"
      threshold_value = var.objective_seconds
      duration        = "300s"
      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  documentation {
    content = "No worker runs, or the queue grows faster than it is read. `skyferry status` and `skyferry doctor` say which."
  }
}

resource "google_monitoring_alert_policy" "dead" {
  display_name          = "${var.name}: dead letters"
  combiner              = "OR"
  notification_channels = var.notification_channels

  conditions {
    display_name = "Dead letters wait"
    condition_threshold {
      filter          = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"${google_pubsub_subscription.dead.name}\" AND metric.type = \"pubsub.googleapis.com/subscription/num_undelivered_messages\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"
      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  documentation {
    content = "`skyferry dead-letters list` groups them by reason."
  }
}
