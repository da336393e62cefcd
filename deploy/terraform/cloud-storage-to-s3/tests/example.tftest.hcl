# `terraform test` runs this without an account: the answers of both clouds are made up.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  override_resource {
    target = aws_iam_role.worker
    values = { arn = "arn:aws:iam::123456789012:role/skyferry" }
  }
}

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "210987654321" }
  }
  mock_data "google_storage_project_service_account" {
    defaults = { email_address = "service-210987654321@gs-project-accounts.iam.gserviceaccount.com" }
  }
  override_resource {
    target = google_pubsub_subscription.events
    values = { id = "projects/example-project/subscriptions/skyferry-events" }
  }
  override_resource {
    target = google_pubsub_subscription.dead
    values = { id = "projects/example-project/subscriptions/skyferry-dead" }
  }
  override_resource {
    target = google_pubsub_topic.events
    values = { id = "projects/example-project/topics/skyferry-events" }
  }
  override_resource {
    target = google_pubsub_topic.dead
    values = { id = "projects/example-project/topics/skyferry-dead" }
  }
  override_resource {
    target = google_service_account.worker
    values = {
      email     = "skyferry@example-project.iam.gserviceaccount.com"
      member    = "serviceAccount:skyferry@example-project.iam.gserviceaccount.com"
      unique_id = "112233445566778899001"
    }
  }
}

variables {
  project            = "example-project"
  source_bucket      = "example-photos"
  destination_bucket = "example-archive"
  destination_region = "eu-west-1"
}

run "everything" {
  assert {
    condition     = length(google_storage_bucket_iam_member.read.condition) == 0
    error_message = "without a prefix, no condition limits the keys"
  }
}

run "a_prefix_with_keys_on_gke" {
  variables {
    prefix              = "raw/"
    pubsub_kms_key      = "projects/example-project/locations/europe-west1/keyRings/ferry/cryptoKeys/events"
    destination_kms_key = "arn:aws:kms:eu-west-1:123456789012:key/1b6a7c33-0000-4000-8000-000000000002"
    gke_service_account = "skyferry/skyferry"
  }
}
