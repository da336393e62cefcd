{{/* At most 46 characters: the names of pods, which end with two hashes, are cut after 63. */}}
{{- define "skyferry.name" -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) | trunc 46 | trimSuffix "-" }}
{{- end }}

{{/* The configuration as text: `config` is a map, or with --set-file the text of a file. */}}
{{- define "skyferry.configText" -}}
{{- if kindIs "string" .Values.config }}{{ .Values.config }}{{ else }}{{ toYaml .Values.config }}{{ end }}
{{- end }}

{{/* The configuration as a map: `include "skyferry.config" . | fromYaml`. */}}
{{- define "skyferry.config" -}}
{{- $config := include "skyferry.configText" . | fromYaml }}
{{- with $config.Error }}{{ fail (printf "config is not a map in YAML: %s" .) }}{{ end }}
{{- toYaml $config }}
{{- end }}

{{/* The pods of this release in metrics, and not those of a release whose name begins with this one. */}}
{{- define "skyferry.pods" -}}
{{- printf "namespace=\"%s\",pod=~\"%s-[^-]+-[^-]+\"" .Release.Namespace (include "skyferry.name" .) }}
{{- end }}

{{- define "skyferry.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "skyferry.labels" -}}
{{ include "skyferry.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "skyferry.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "skyferry.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "skyferry.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* With a rollout, each configuration has its own object, so that the version that comes back has its own configuration. */}}
{{- define "skyferry.configMap" -}}
{{- include "skyferry.name" . }}{{ if .Values.rollout.enabled }}-{{ include "skyferry.configText" . | sha256sum | trunc 8 }}{{ end }}
{{- end }}

{{/* What scales: the reference of a ScaledObject. */}}
{{- define "skyferry.scaleTarget" -}}
{{- if .Values.rollout.enabled }}{apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: {{ include "skyferry.name" . }}}
{{- else }}{name: {{ include "skyferry.name" . }}}{{ end }}
{{- end }}

{{/* The database of CloudNativePG, which also names its Service and its Secrets. */}}
{{- define "skyferry.database" -}}
{{- include "skyferry.name" . }}-db
{{- end }}

{{/* The ledger is a file in the workspace unless the configuration names a server. */}}
{{- define "skyferry.ledgerIsFile" -}}
{{- $config := include "skyferry.config" . | fromYaml }}
{{- $url := (default dict $config.ledger).url | default "sqlite://ledger.db" -}}
{{- if not (or .Values.postgresql.enabled (regexMatch "^(postgresql|rediss?)://" $url)) }}true{{ end }}
{{- end }}

{{/* The queues and stores that are files in the workspace; without any queue, Skyferry makes one. A claim of the user's may be shared. */}}
{{- define "skyferry.files" -}}
{{- $config := include "skyferry.config" . | fromYaml }}
{{- $files := list }}
{{- range $config.queues }}{{ if regexMatch "^(sqlite|memory):" (toString .url) }}{{ $files = append $files .name }}{{ end }}{{ end }}
{{- if not $config.queues }}{{ $files = list "events" }}{{ end }}
{{- if regexMatch "^(sqlite|memory):" (toString (default dict $config.dead_letters).url) }}{{ $files = append $files "dead_letters" }}{{ end }}
{{- if not .Values.persistence.existingClaim }}
{{- range $name, $store := $config.stores }}{{ if hasPrefix "file:" (toString $store.url) }}{{ $files = append $files $name }}{{ end }}{{ end }}
{{- range $config.routes }}{{ range list .from .to }}{{ if hasPrefix "file:" (toString .) }}{{ $files = append $files . }}{{ end }}{{ end }}{{ end }}
{{- end }}
{{- join ", " $files }}
{{- end }}

{{/* The workspace has what must survive the pod, and belongs to one pod at a time. */}}
{{- define "skyferry.hasFiles" -}}
{{- if or (include "skyferry.ledgerIsFile" .) (include "skyferry.files" .) }}true{{ end }}
{{- end }}

{{/* Several pods at the same time, at least while a version replaces another. */}}
{{- define "skyferry.isFleet" -}}
{{- if or .Values.rollout.enabled (gt (int .Values.replicas) 1) (and .Values.autoscaling.enabled (gt (int .Values.autoscaling.max) 1)) }}true{{ end }}
{{- end }}

{{/* A trigger must count a queue of the configuration. */}}
{{- define "skyferry.checkTriggers" -}}
{{- $schemes := dict "sqs" "sqs|https?|arn" "pubsub" "pubsub" "azure-queue" "azq" "redis" "rediss?" "nats" "nats|tls" "postgresql" "postgresql|postgres" "skyferry" "[a-z0-9]+" }}
{{- $config := include "skyferry.config" . | fromYaml }}
{{- $own := true }}
{{- range .Values.autoscaling.triggers }}
{{- $kind := .kind }}{{ $found := false }}
{{- range $config.queues }}{{ if regexMatch (printf "^(%s):" (get $schemes $kind)) (toString .url) }}{{ $found = true }}{{ end }}{{ end }}
{{- if not $found }}{{ fail (printf "autoscaling.triggers: no queue under config.queues is of the kind %s" $kind) }}{{ end }}
{{- if ne .kind "skyferry" }}{{ $own = false }}{{ end }}
{{- end }}
{{- if and $own (lt (int .Values.autoscaling.min) 1) }}
{{- fail "autoscaling.min is 0 and the only triggers are metrics of Skyferry, which no pod reports then: set autoscaling.min to 1, or add a trigger of the queue's kind" }}
{{- end }}
{{- end }}

{{/* Values that cannot work are refused with what to do. */}}
{{- define "skyferry.check" -}}
{{- $config := include "skyferry.config" . | fromYaml }}
{{- if not $config.routes }}{{ fail "config.routes is empty: give the configuration with `--set-file config=skyferry.yaml`, or under `config` of the values" }}{{ end }}
{{- if regexMatch "://[^/@\\s]*:[^/@\\s]*@" (include "skyferry.configText" .) }}{{ fail "config has a URL with a password: put it into a Secret, and name that under secretEnv or secretFiles" }}{{ end }}
{{- if and (include "skyferry.ledgerIsFile" .) (or (gt (int .Values.replicas) 1) (and .Values.autoscaling.enabled (gt (int .Values.autoscaling.max) 1))) }}
{{- fail "several replicas need a ledger that they share, and config.ledger.url is a file: set replicas and autoscaling.max to 1" }}
{{- end }}
{{- if and .Values.rollout.enabled (include "skyferry.ledgerIsFile" .) }}
{{- fail "a canary and the stable pods need a ledger that they share, and config.ledger.url is a file: name a ledger on a server, or leave rollout.enabled out" }}
{{- end }}
{{- if and (include "skyferry.isFleet" .) (include "skyferry.files" .) }}
{{- fail (printf "several pods need queues and stores that they share, and these are files: %s. Name others on a server, or set replicas and autoscaling.max to 1 and leave rollout.enabled out" (include "skyferry.files" .)) }}
{{- end }}
{{- if and .Values.rollout.enabled (not .Values.rollout.analysis.prometheus) }}
{{- fail "rollout.analysis.prometheus is empty: name the Prometheus that scrapes the pods, such as http://prometheus.monitoring:9090" }}
{{- end }}
{{- if and .Values.postgresql.enabled (default dict $config.ledger).url }}{{ fail "config.ledger.url has no effect with postgresql.enabled: leave out one of them" }}{{ end }}
{{- if $config.drain }}{{ fail "config.drain has no effect here: set `drain` of the chart, from which the grace period of the pod follows" }}{{ end }}
{{- $own := merge (dict "checksum/config" "") (include "skyferry.labels" . | fromYaml) }}
{{- range $place, $given := dict "podLabels" .Values.podLabels "podAnnotations" .Values.podAnnotations "serviceMonitor.labels" .Values.serviceMonitor.labels "prometheusRule.labels" .Values.prometheusRule.labels }}
{{- range $name, $_ := $given }}{{ if hasKey $own $name }}{{ fail (printf "%s.%s: the chart sets it itself: leave it out" $place $name) }}{{ end }}{{ end }}
{{- end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.min) (int .Values.autoscaling.max)) }}{{ fail "autoscaling.min is above autoscaling.max: lower one, or raise the other" }}{{ end }}
{{- if and .Values.serviceMonitor.enabled (not .Values.serviceMonitor.tokenSecret) }}{{ fail "serviceMonitor.tokenSecret is empty, and /metrics needs the token: name the Secret that has it under the key `token`" }}{{ end }}
{{- if and .Values.autoscaling.enabled (not .Values.autoscaling.triggers) }}{{ fail "autoscaling.triggers is empty: name each queue" }}{{ end }}
{{- if .Values.autoscaling.enabled }}{{ include "skyferry.checkTriggers" . }}{{ end }}
{{- if (default dict $config.server).token }}{{ fail "config.server.token is a secret: put it into a Secret, and name that under secretEnv as SKYFERRY_SERVER__TOKEN" }}{{ end }}
{{- $names := list }}{{ range .Values.secretEnv }}{{ $names = append $names .name }}{{ end }}
{{- if not (or (has "SKYFERRY_SERVER__TOKEN" $names) (default dict $config.server).token_file) }}
{{- fail "the server listens on the pod's address, which needs a token: name a Secret under secretEnv as SKYFERRY_SERVER__TOKEN, or set config.server.token_file" }}
{{- end }}
{{- end }}
