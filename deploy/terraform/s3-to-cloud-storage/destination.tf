# Google Cloud: the bucket, and what the role of the worker may do there. No service account and no key exists.

data "google_project" "current" {
  project_id = var.project
}

resource "google_project_service" "needed" {
  for_each           = toset(["iam", "iamcredentials", "storage", "sts"])
  service            = "${each.key}.googleapis.com"
  disable_on_destroy = false
}

data "google_storage_project_service_account" "agent" {
  depends_on = [google_project_service.needed]
}

# Cloud Storage itself uses the key.
resource "google_kms_crypto_key_iam_member" "destination" {
  count         = var.destination_kms_key == null ? 0 : 1
  crypto_key_id = var.destination_kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${data.google_storage_project_service_account.agent.email_address}"
}

resource "google_storage_bucket" "destination" {
  name                        = var.destination_bucket
  location                    = var.destination_location
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true
  }

  dynamic "encryption" {
    for_each = compact([var.destination_kms_key])
    content {
      default_kms_key_name = encryption.value
    }
  }

  lifecycle_rule { # uploads that were abandoned
    condition { age = 7 }
    action { type = "AbortIncompleteMultipartUpload" }
  }

  depends_on = [google_project_service.needed, google_kms_crypto_key_iam_member.destination]
}

resource "google_iam_workload_identity_pool" "clouds" {
  workload_identity_pool_id = var.name
  display_name              = "Skyferry at AWS"
  depends_on                = [google_project_service.needed]
}

resource "google_iam_workload_identity_pool_provider" "amazon" {
  workload_identity_pool_id          = google_iam_workload_identity_pool.clouds.workload_identity_pool_id
  workload_identity_pool_provider_id = "amazon"

  # The attributes that Google gives by default, written down because a condition uses one.
  attribute_mapping = {
    "google.subject"     = "assertion.arn"
    "attribute.aws_role" = "assertion.arn.contains('assumed-role') ? assertion.arn.extract('{account_arn}assumed-role/') + 'assumed-role/' + assertion.arn.extract('assumed-role/{role_name}/') : assertion.arn"
  }
  attribute_condition = "attribute.aws_role == '${local.session}'"

  aws {
    account_id = local.account
  }
}

locals {
  session = "arn:${local.partition}:sts::${local.account}:assumed-role/${var.name}"
  pool    = "principalSet://iam.googleapis.com/projects/${data.google_project.current.number}/locations/global/workloadIdentityPools/${google_iam_workload_identity_pool.clouds.workload_identity_pool_id}"
  member  = "${local.pool}/attribute.aws_role/${local.session}"
  objects = "projects/_/buckets/${var.destination_bucket}/objects"

  # What `skyferry policy` prints for the configuration in outputs.tf: permissions, and the prefixes that they are limited to.
  roles = {
    list   = { permissions = ["storage.objects.list"], prefixes = [] }
    write  = { permissions = ["storage.objects.create", "storage.objects.delete", "storage.objects.get"], prefixes = [var.prefix, ".skyferry-uploads/"] }
    update = { permissions = ["storage.objects.update"], prefixes = [var.prefix] }
  }
}

resource "google_project_iam_custom_role" "worker" {
  for_each    = local.roles
  role_id     = "skyferry_${each.key}"
  title       = "skyferry_${each.key}"
  stage       = "GA"
  permissions = each.value.permissions
  depends_on  = [google_project_service.needed]
}

resource "google_storage_bucket_iam_member" "worker" {
  for_each = local.roles
  bucket   = google_storage_bucket.destination.name
  role     = google_project_iam_custom_role.worker[each.key].name
  member   = local.member

  dynamic "condition" {
    for_each = var.prefix == "" || length(each.value.prefixes) == 0 ? [] : ["skyferry"]
    content {
      title      = condition.value
      expression = join(" || ", [for prefix in each.value.prefixes : "resource.name.startsWith(\"${local.objects}/${prefix}\")"])
    }
  }
}
