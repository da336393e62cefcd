# AWS: the bucket, and the role that the service account of Google assumes by its ID token. No user and no key exists.

data "aws_partition" "current" {}

locals {
  bucket_arn = "arn:${data.aws_partition.current.partition}:s3:::${var.destination_bucket}"
}

resource "aws_s3_bucket" "destination" {
  bucket = var.destination_bucket
}

resource "aws_s3_bucket_public_access_block" "destination" {
  bucket                  = aws_s3_bucket.destination.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "destination" {
  bucket = aws_s3_bucket.destination.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "destination" {
  bucket = aws_s3_bucket.destination.id
  rule {
    bucket_key_enabled = var.destination_kms_key != null # one request to KMS for many objects
    apply_server_side_encryption_by_default {
      sse_algorithm     = var.destination_kms_key == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.destination_kms_key
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "destination" {
  bucket = aws_s3_bucket.destination.id
  rule {
    id     = "abandoned-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

resource "aws_iam_role" "worker" {
  name = var.name
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = "accounts.google.com" }
      Condition = { StringEquals = {
        "accounts.google.com:oaud" = "sts.amazonaws.com"
        "accounts.google.com:sub"  = google_service_account.worker.unique_id
      } }
    }]
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
        Sid    = "ArchiveDestination"
        Effect = "Allow"
        Action = [
          "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject",
        ]
        Resource = ["${local.bucket_arn}/${var.prefix}*"]
      },
      {
        Sid      = "ArchiveBucket"
        Effect   = "Allow"
        Action   = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
        Resource = [local.bucket_arn]
      },
      ], [
      for key in compact([var.destination_kms_key]) : {
        Sid       = "ArchiveKey"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = [key]
        Condition = { StringEquals = { "kms:ViaService" = "s3.${var.destination_region}.amazonaws.com" } }
      }
    ])
  })
}
