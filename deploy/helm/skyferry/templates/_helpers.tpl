{{- define "skyferry.name" -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) | trunc 50 | trimSuffix "-" }}
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

{{/* The ledger is a file in the workspace unless the configuration names another one. */}}
{{- define "skyferry.ledgerIsFile" -}}
{{- $url := (default dict .Values.config.ledger).url | default "sqlite://ledger.db" -}}
{{- if or (hasPrefix "sqlite:" $url) (hasPrefix "memory:" $url) }}true{{ end }}
{{- end }}

{{/* Values that cannot work are refused with what to do. */}}
{{- define "skyferry.check" -}}
{{- if not .Values.config.routes }}{{ fail "config.routes is empty: give the configuration with --set-file or under `config`" }}{{ end }}
{{- if and (include "skyferry.ledgerIsFile" .) (or (gt (int .Values.replicas) 1) (and .Values.autoscaling.enabled (gt (int .Values.autoscaling.max) 1))) }}
{{- fail "several replicas need a ledger that they share, and config.ledger.url is a file: set replicas and autoscaling.max to 1" }}
{{- end }}
{{- if and .Values.autoscaling.enabled (not .Values.autoscaling.triggers) }}{{ fail "autoscaling.triggers is empty: name each queue" }}{{ end }}
{{- if (default dict .Values.config.server).token }}{{ fail "config.server.token is a secret: put it into a Secret, and name that under secretEnv as SKYFERRY_SERVER__TOKEN" }}{{ end }}
{{- $names := list }}{{ range .Values.secretEnv }}{{ $names = append $names .name }}{{ end }}
{{- if not (or (has "SKYFERRY_SERVER__TOKEN" $names) (default dict .Values.config.server).token_file) }}
{{- fail "the server listens on the pod's address, which needs a token: name a Secret under secretEnv as SKYFERRY_SERVER__TOKEN, or set config.server.token_file" }}
{{- end }}
{{- end }}
