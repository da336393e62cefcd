{{/* The pod, of a Deployment or of a Rollout. */}}
{{- define "skyferry.pod" -}}
metadata:
  labels:
    {{- include "skyferry.selector" . | nindent 4 }}
    {{- if .Values.serviceAccount.azureWorkloadIdentity }}
    azure.workload.identity/use: "true"
    {{- end }}
    {{- with .Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    checksum/config: {{ include "skyferry.configText" . | sha256sum }}  # a new configuration is a new pod
    {{- with .Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "skyferry.serviceAccount" . | quote }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add .Values.drain 15 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: skyferry
      image: {{ include "skyferry.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [run, --config, /etc/skyferry/skyferry.yaml]
      env:
        - {name: SKYFERRY_WORKSPACE, value: /var/lib/skyferry}
        - {name: SKYFERRY_SERVER__LISTEN, value: "0.0.0.0:{{ .Values.service.port }}"}
        - {name: SKYFERRY_LOG__FORMAT, value: json}
        - {name: SKYFERRY_DRAIN, value: "{{ .Values.drain }}s"}
        {{- if .Values.postgresql.enabled }}
        - {name: SKYFERRY_LEDGER__URL, value: "postgresql://skyferry@{{ include "skyferry.database" . }}-rw/skyferry"}
        - {name: SKYFERRY_LEDGER__TLS__CA_FILE, value: /etc/skyferry/postgresql/ca.crt}
        - name: PGPASSWORD
          valueFrom:
            secretKeyRef: {name: {{ include "skyferry.database" . }}-app, key: password}
        {{- end }}
        {{- range .Values.secretEnv }}
        - name: {{ .name | quote }}
          valueFrom:
            secretKeyRef: {name: {{ .secret | quote }}, key: {{ .key | quote }}}
        {{- end }}
      ports:
        - {name: http, containerPort: {{ .Values.service.port }}}
      startupProbe:
        httpGet: {path: /health, port: http}
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /health, port: http}
        periodSeconds: 20
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /ready, port: http}
        periodSeconds: 10
        timeoutSeconds: 2
      resources: {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: config, mountPath: /etc/skyferry/skyferry.yaml, subPath: skyferry.yaml, readOnly: true}
        - {name: workspace, mountPath: /var/lib/skyferry}
        {{- if .Values.postgresql.enabled }}
        - {name: postgresql, mountPath: /etc/skyferry/postgresql, readOnly: true}
        {{- end }}
        {{- range .Values.secretFiles }}
        - {name: {{ printf "secret-%s" .name }}, mountPath: /etc/skyferry/secrets/{{ .name }}, readOnly: true}
        {{- end }}
        {{- if .Values.serviceAccount.tokens }}
        - {name: tokens, mountPath: /var/run/secrets/skyferry, readOnly: true}
        {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ include "skyferry.configMap" . }}}
    - name: workspace
      {{- if and .Values.persistence.enabled (or .Values.persistence.existingClaim (include "skyferry.hasFiles" .)) }}
      persistentVolumeClaim: {claimName: {{ .Values.persistence.existingClaim | default (include "skyferry.name" .) | quote }}}
      {{- else }}
      emptyDir: {}
      {{- end }}
    {{- if .Values.postgresql.enabled }}
    - name: postgresql
      secret:
        secretName: {{ include "skyferry.database" . }}-ca
        items: [{key: ca.crt, path: ca.crt}]  # and not the key beside it
    {{- end }}
    {{- range .Values.secretFiles }}
    - name: {{ printf "secret-%s" .name }}
      secret: {secretName: {{ .secret | quote }}, defaultMode: 0440}
    {{- end }}
    {{- with .Values.serviceAccount.tokens }}
    - name: tokens
      projected:
        sources:
          {{- range . }}
          - serviceAccountToken: {path: {{ .name | quote }}, audience: {{ .audience | quote }}, expirationSeconds: 3600}
          {{- end }}
    {{- end }}
  {{- range $key := list "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "priorityClassName" }}
  {{- with index $.Values $key }}
  {{ $key }}: {{- if kindIs "string" . }} {{ . | quote }}{{ else }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- end }}
  {{- end }}
{{- end }}
