output "configuration" {
  description = "skyferry.yaml: terraform output -raw configuration > skyferry.yaml"
  value = yamlencode({
    stores = {
      photos = merge(
        { url = "s3://${var.source_bucket}?region=${var.source_region}" },
        { for key in compact([var.source_kms_key]) : "kms_key" => key },
      )
      archive = merge({
        url = "gs://${google_storage_bucket.destination.name}"
        identity = {
          kind     = "federated"
          token    = "aws"
          project  = tostring(data.google_project.current.number)
          pool     = google_iam_workload_identity_pool.clouds.workload_identity_pool_id
          provider = google_iam_workload_identity_pool_provider.amazon.workload_identity_pool_provider_id
        }
      }, { for key in compact([var.destination_kms_key]) : "kms_key" => key })
    }
    routes = [merge(
      { name = "photos", from = "photos", to = "archive", deletes = "propagate" },
      { for prefix in compact([var.prefix]) : "filter" => { prefix = prefix } },
    )]
    queues       = [{ name = "photos", url = "sqs://${local.account}/${aws_sqs_queue.events.name}?region=${var.source_region}", lease = "60s" }]
    dead_letters = { url = "sqs://${local.account}/${aws_sqs_queue.dead.name}?region=${var.source_region}" }
  })
}

output "role_arn" {
  description = "For the annotation eks.amazonaws.com/role-arn of the service account, or the task role of ECS."
  value       = aws_iam_role.worker.arn
}

output "queue_url" {
  description = "For a trigger of KEDA."
  value       = aws_sqs_queue.events.url
}
