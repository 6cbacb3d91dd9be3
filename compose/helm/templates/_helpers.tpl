{{- define "imagebot.labels" -}}
app.kubernetes.io/name: imagebot
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "imagebot.selector" -}}
{{ include "imagebot.labels" .root }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "imagebot.meta" -}}
name: {{ .root.Release.Name }}-{{ .part }}
labels:
  {{- include "imagebot.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{/* A pod of one part: nothing runs as root, nothing but two folders is written. `more`: the container's own fields. */}}
{{- define "imagebot.pod" -}}
metadata:
  labels:
    {{- include "imagebot.selector" . | nindent 4 }}
  annotations:
    # Settings are read at the start only.
    checksum/settings: {{ toYaml .root.Values.settings | sha256sum }}
spec:
  serviceAccountName: {{ .root.Release.Name }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: 30
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets: {{ toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    seccompProfile: {type: RuntimeDefault}
  containers:
    - name: {{ .part }}
      image: "{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}"
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      envFrom:
        - configMapRef: {name: {{ .root.Release.Name }}-settings}
        - secretRef: {name: {{ .root.Values.secret }}}
      resources: {{ toYaml .resources | nindent 8 }}
      {{- .more | nindent 6 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: data, mountPath: /var/lib/imagebot}
        {{- if eq .part "backup" }}
        - {name: backups, mountPath: /data}
        {{- end }}
  volumes:
    - {name: tmp, emptyDir: {sizeLimit: 256Mi}}
    # Spans that the Collector does not have yet outlive a container, not a pod.
    - {name: data, emptyDir: {sizeLimit: 1Gi}}
    {{- if eq .part "backup" }}
    - name: backups
      persistentVolumeClaim: {claimName: {{ .root.Release.Name }}-backups}
    {{- end }}
{{- end }}

{{/* A process that said within 15 s that its loop runs. */}}
{{- define "imagebot.alive" -}}
livenessProbe:
  exec: {command: [python, -m, src.ops.healthcheck]}
  initialDelaySeconds: 30
  periodSeconds: 30
  timeoutSeconds: 10
{{- end }}
