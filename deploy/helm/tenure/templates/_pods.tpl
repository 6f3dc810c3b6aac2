{{- define "tenure.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "tenure.labels" -}}
app.kubernetes.io/name: tenure
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tenure.meta" -}}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "tenure.labels" . | nindent 2 }}
  app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "tenure.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end }}

{{/* What every pod of Tenure has: no rights, no token, a user of its own. */}}
{{- define "tenure.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "tenure.container" -}}
image: {{ include "tenure.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Pods of one role spread over nodes. */}}
{{- define "tenure.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "tenure.labels" .root | nindent 8 }}
        app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "tenure.environment" -}}
- {name: TENURE_CONFIG, value: /run/secrets/config/tenure.yaml}
- {name: TENURE_DATA_DIR, value: /var/lib/tenure}
{{- range $name, $value := .Values.settings }}
- {name: TENURE_{{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{/* OpenTelemetry's own variables, for the roles that make spans; nothing where there is no endpoint. */}}
{{- define "tenure.traces" -}}
{{- with .Values.traces -}}
{{- if .endpoint -}}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .endpoint | quote }}}
{{- range $name, $value := .variables }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- with .headersSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom: {secretKeyRef: {name: {{ . }}, key: headers}}
{{- end }}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "tenure.signing" -}}
- {name: TENURE_SIGNING_KEY_FILE, value: /run/secrets/signing/signing_key}
- {name: TENURE_ANCHOR_FOLDER, value: /var/lib/tenure-anchors}
{{- end }}

{{/* What may be written to: nothing in it has to outlive the pod. */}}
{{- define "tenure.mounts" -}}
- {name: config, mountPath: /run/secrets/config, readOnly: true}
- {name: data, mountPath: /var/lib/tenure}
- {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "tenure.signingMounts" -}}
- {name: signing, mountPath: /run/secrets/signing, readOnly: true}
- {name: anchors, mountPath: /var/lib/tenure-anchors}
{{- end }}

{{/* 288 is 0440 in octal, which readers of YAML 1.1 and 1.2 would take for two numbers. */}}
{{- define "tenure.volumes" -}}
- {name: config, secret: {secretName: {{ .Values.secrets.config }}, defaultMode: 288}}
- {name: data, emptyDir: {}}
- {name: tmp, emptyDir: {}}
{{- end }}

{{- define "tenure.signingVolumes" -}}
- {name: signing, secret: {secretName: {{ .Values.secrets.signingKey }}, defaultMode: 288}}
- name: anchors
  persistentVolumeClaim:
    claimName: {{ .Values.anchors.existingClaim | default (printf "%s-anchors" (include "tenure.name" .)) }}
{{- end }}

{{/* A worker and beat answer /healthz beside their metrics: alive is who still does their work. */}}
{{- define "tenure.ownHealth" -}}
ports: [{name: metrics, containerPort: {{ .Values.metrics.port }}}]
startupProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 5
  failureThreshold: 30
livenessProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 30
  timeoutSeconds: 5
  failureThreshold: 3
{{- end }}

{{- define "tenure.selector" -}}
matchLabels:
  {{- include "tenure.labels" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "tenure.podMeta" -}}
labels:
  {{- include "tenure.labels" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .role }}
{{- with .root.Values.podAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
