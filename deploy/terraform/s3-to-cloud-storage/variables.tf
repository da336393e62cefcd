variable "name" {
  description = "Name of the worker's role, and the first part of other names."
  type        = string
  default     = "skyferry"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{3,22}[a-z0-9]$", var.name))
    error_message = "5 to 24 characters of a-z, 0-9 and -, from a letter on."
  }
}

variable "source_bucket" {
  description = "An existing S3 bucket. All its notifications are replaced by one."
  type        = string
}

variable "source_region" {
  description = "Region of the bucket; its queue is there too."
  type        = string
}

variable "prefix" {
  description = "Only keys that begin with it are copied; empty copies all."
  type        = string
  default     = ""
}

variable "source_kms_key" {
  description = "ARN of the customer key that encrypts the source (SSE-KMS)."
  type        = string
  default     = null
}

variable "project" {
  description = "Id of the Google Cloud project that gets the bucket and the workload identity pool."
  type        = string
}

variable "destination_bucket" {
  description = "Name of the Cloud Storage bucket to create."
  type        = string
}

variable "destination_location" {
  description = "Region, dual-region or multi-region of the destination."
  type        = string
}

variable "destination_kms_key" {
  description = "Customer key of the destination: projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, in its location. Without one, Google's key encrypts."
  type        = string
  default     = null
}

variable "worker_service" {
  description = "The service that gives the worker its role: ec2.amazonaws.com, ecs-tasks.amazonaws.com or pods.eks.amazonaws.com. Unused with eks_oidc_provider."
  type        = string
  default     = "ec2.amazonaws.com"
}

variable "eks_oidc_provider" {
  description = "ARN of the OIDC provider of an EKS cluster, for IAM roles for service accounts."
  type        = string
  default     = null
}

variable "eks_service_account" {
  description = "The service account of the pods: NAMESPACE:NAME."
  type        = string
  default     = "skyferry:skyferry"
}

variable "objective_seconds" {
  description = "The age of the oldest message that raises an alarm."
  type        = number
  default     = 300
}

variable "alarm_actions" {
  description = "ARNs to notify of alarms, such as an SNS topic."
  type        = list(string)
  default     = []
}
