# `terraform test` runs this without an account: the answers of both clouds are made up.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  override_resource {
    target = aws_sqs_queue.events
    values = { arn = "arn:aws:sqs:eu-west-1:123456789012:skyferry-events" }
  }
  override_resource {
    target = aws_sqs_queue.dead
    values = { arn = "arn:aws:sqs:eu-west-1:123456789012:skyferry-dead" }
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
}

variables {
  source_bucket        = "example-photos"
  source_region        = "eu-west-1"
  project              = "example-project"
  destination_bucket   = "example-archive"
  destination_location = "EUROPE-WEST1"
}

run "everything" {
  assert {
    condition     = length(google_storage_bucket_iam_member.worker["write"].condition) == 0
    error_message = "without a prefix, no condition limits the keys"
  }
}

run "a_prefix_with_keys_on_eks" {
  variables {
    prefix              = "raw/"
    source_kms_key      = "arn:aws:kms:eu-west-1:123456789012:key/1b6a7c33-0000-4000-8000-000000000001"
    destination_kms_key = "projects/example-project/locations/europe-west1/keyRings/ferry/cryptoKeys/archive"
    eks_oidc_provider   = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE"
  }
}
