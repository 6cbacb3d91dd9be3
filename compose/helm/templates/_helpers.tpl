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
spec:
  serviceAccountName: {{ .root.Release.Name }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: 30
  # A node that is lost for half a minute, not five, is done without.
  tolerations:
    - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 30}
    - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 30}
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
      env:
        {{- range $name, $value := merge (dict) .root.Values.settings (dict "DATA_DIR" "/var/lib/imagebot" "LOG_FORMAT" "json") }}
        {{- if ne (toString $value) "" }}
        - {name: {{ $name }}, value: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}}
        {{- end }}
        {{- end }}
      envFrom:
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

{{/* A process that said within 15 s that its loop runs. Until it first did it takes nobody's place. */}}
{{- define "imagebot.alive" -}}
{{- $said := "exec: {command: [python, -m, src.ops.healthcheck]}, timeoutSeconds: 10" -}}
startupProbe: {{ printf "{%s, periodSeconds: 3, failureThreshold: 60}" $said }}
livenessProbe: {{ printf "{%s, periodSeconds: 30}" $said }}
{{- end }}

{{/* Pods that cannot start keep no node from being drained. */}}
{{- define "imagebot.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "imagebot.meta" . | nindent 2 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{ include "imagebot.selector" . | nindent 6 }}
{{- end }}
