variable "name" {
  description = "Name of the worker's service account and role, and the first part of other names."
  type        = string
  default     = "skyferry"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,22}[a-z0-9]$", var.name))
    error_message = "6 to 24 characters of a-z, 0-9 and -, from a letter on."
  }
}

variable "project" {
  description = "Id of the Google Cloud project of the source bucket; topic, subscription and service account are there too."
  type        = string
}

variable "source_bucket" {
  description = "An existing Cloud Storage bucket. It gets one more notification."
  type        = string
}

variable "prefix" {
  description = "Only keys that begin with it are copied; empty copies all."
  type        = string
  default     = ""
}

variable "pubsub_kms_key" {
  description = "Customer key of the topics: projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY. Without one, Google's key encrypts."
  type        = string
  default     = null
}

variable "gke_service_account" {
  description = "The service account of the pods in a GKE cluster of this project: NAMESPACE/NAME. Null outside of GKE."
  type        = string
  default     = null
}

variable "destination_bucket" {
  description = "Name of the S3 bucket to create."
  type        = string
}

variable "destination_region" {
  description = "Region of the destination."
  type        = string
}

variable "destination_kms_key" {
  description = "ARN of the customer key of the destination (SSE-KMS). Without one, S3's key encrypts."
  type        = string
  default     = null
}

variable "objective_seconds" {
  description = "The age of the oldest message that raises an alert."
  type        = number
  default     = 300
}

variable "notification_channels" {
  description = "Channels of Cloud Monitoring to notify: projects/PROJECT/notificationChannels/ID."
  type        = list(string)
  default     = []
}
