output "configuration" {
  description = "skyferry.yaml: terraform output -raw configuration > skyferry.yaml"
  value = yamlencode({
    stores = {
      photos = { url = "gs://${var.source_bucket}" }
      archive = merge({
        url      = "s3://${aws_s3_bucket.destination.bucket}?region=${var.destination_region}"
        identity = { kind = "federated", token = "google", role_arn = aws_iam_role.worker.arn }
      }, { for key in compact([var.destination_kms_key]) : "kms_key" => key })
    }
    routes = [merge(
      { name = "photos", from = "photos", to = "archive", deletes = "propagate" },
      { for prefix in compact([var.prefix]) : "filter" => { prefix = prefix } },
    )]
    queues       = [{ name = "photos", url = "pubsub://${var.project}/${google_pubsub_subscription.events.name}", lease = "60s" }]
    dead_letters = { url = "pubsub://${var.project}/${google_pubsub_subscription.dead.name}?topic=${google_pubsub_topic.dead.name}" }
  })
}

output "service_account" {
  description = "For the annotation iam.gke.io/gcp-service-account, or the service account of an instance or of Cloud Run."
  value       = google_service_account.worker.email
}

output "subscription" {
  description = "For a trigger of KEDA."
  value       = google_pubsub_subscription.events.id
}
