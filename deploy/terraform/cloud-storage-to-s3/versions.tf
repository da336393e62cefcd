terraform {
  required_version = ">= 1.7"
  required_providers {
    aws    = { source = "hashicorp/aws", version = ">= 6.0, < 7.0" }
    google = { source = "hashicorp/google", version = ">= 7.0, < 9.0" }
  }
}

provider "aws" {
  region = var.destination_region
}

provider "google" {
  project = var.project
}
