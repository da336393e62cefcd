# AWS: the queue, what fills it, and the role of the worker.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  account    = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  bucket_arn = "arn:${local.partition}:s3:::${var.source_bucket}"
  oidc       = var.eks_oidc_provider == null ? "" : split("oidc-provider/", var.eks_oidc_provider)[1]
}

resource "aws_sqs_queue" "events" {
  name                       = "${var.name}-events"
  visibility_timeout_seconds = 60
  message_retention_seconds  = 1209600 # 14 days, the longest
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = true

  # Work that waits in an outage is not counted; the limit is high because a message that returns from the queue of dead letters
  # keeps its count.
  redrive_policy = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead.arn, maxReceiveCount = 1000 })
}

# For dead letters of Skyferry, and for messages that no worker could finish.
resource "aws_sqs_queue" "dead" {
  name                      = "${var.name}-dead"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  queue_url            = aws_sqs_queue.dead.url
  redrive_allow_policy = jsonencode({ redrivePermission = "byQueue", sourceQueueArns = [aws_sqs_queue.events.arn] })
}

resource "aws_sqs_queue_policy" "events" {
  queue_url = aws_sqs_queue.events.url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "s3.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = aws_sqs_queue.events.arn
      Condition = {
        ArnEquals    = { "aws:SourceArn" = [local.bucket_arn] }
        StringEquals = { "aws:SourceAccount" = local.account }
      }
    }]
  })
}

resource "aws_s3_bucket_notification" "source" {
  bucket = var.source_bucket

  queue {
    queue_arn     = aws_sqs_queue.events.arn
    events        = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
    filter_prefix = var.prefix
  }

  depends_on = [aws_sqs_queue_policy.events] # S3 checks that it may send
}

locals {
  of_a_service = {
    Effect    = "Allow"
    Action    = concat(["sts:AssumeRole"], var.worker_service == "pods.eks.amazonaws.com" ? ["sts:TagSession"] : [])
    Principal = { Service = var.worker_service }
  }
  of_a_service_account = {
    Effect    = "Allow"
    Action    = "sts:AssumeRoleWithWebIdentity"
    Principal = { Federated = var.eks_oidc_provider }
    Condition = { StringEquals = {
      "${local.oidc}:aud" = "sts.amazonaws.com"
      "${local.oidc}:sub" = "system:serviceaccount:${var.eks_service_account}"
    } }
  }
}

resource "aws_iam_role" "worker" {
  name = var.name
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [for statement in [local.of_a_service, local.of_a_service_account] : statement if can(statement.Principal.Service) == (var.eks_oidc_provider == null)]
  })
}

# What `skyferry policy` prints for the configuration in outputs.tf.
resource "aws_iam_role_policy" "worker" {
  name = "skyferry"
  role = aws_iam_role.worker.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid      = "PhotosSource"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectTagging", "s3:GetObjectVersion", "s3:GetObjectVersionTagging"]
        Resource = ["${local.bucket_arn}/${var.prefix}*"]
      },
      {
        Sid      = "PhotosBucket"
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = [local.bucket_arn]
      },
      {
        Sid    = "PhotosQueue"
        Effect = "Allow"
        Action = [
          "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage",
        ]
        Resource = [aws_sqs_queue.events.arn]
      },
      {
        Sid    = "DeadLettersQueue"
        Effect = "Allow"
        Action = [
          "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage",
          "sqs:SendMessage",
        ]
        Resource = [aws_sqs_queue.dead.arn]
      },
      ], [
      for key in compact([var.source_kms_key]) : {
        Sid       = "PhotosKey"
        Effect    = "Allow"
        Action    = ["kms:Decrypt"]
        Resource  = [key]
        Condition = { StringEquals = { "kms:ViaService" = "s3.${var.source_region}.amazonaws.com" } }
      }
    ])
  })
}

# The role of an EC2 instance reaches it by a profile.
resource "aws_iam_instance_profile" "worker" {
  count = var.eks_oidc_provider == null && var.worker_service == "ec2.amazonaws.com" ? 1 : 0
  name  = var.name
  role  = aws_iam_role.worker.name
}

resource "aws_cloudwatch_metric_alarm" "age" {
  alarm_name          = "${var.name}-queue-age"
  alarm_description   = "The oldest event waits longer than ${var.objective_seconds} s: no worker runs, or the queue grows faster than it is read."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = aws_sqs_queue.events.name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 5
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.objective_seconds
  treat_missing_data  = "notBreaching" # an empty queue reports nothing
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
}

resource "aws_cloudwatch_metric_alarm" "dead" {
  alarm_name          = "${var.name}-dead-letters"
  alarm_description   = "Dead letters wait: `skyferry dead-letters list`."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead.name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
}
