{{- /* Names and labels. Every object is called RELEASE-PART. Called with a dict: root ($), part. */ -}}
{{- define "orloj.labels" -}}
app.kubernetes.io/name: orloj
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "orloj.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- /* Hardening of every pod, and of every container. */ -}}
{{- define "orloj.podSecurity" -}}
automountServiceAccountToken: false
# Kubernetes would set ORLOJ_… variables for each Service, and a server refuses variables that it does not know.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "orloj.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- /* Pods of one part on different nodes and zones, as far as there are any. */ -}}
{{- define "orloj.spread" -}}
topologySpreadConstraints:
  {{- $labels := include "orloj.labels" . }}
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- $labels | nindent 8 }}
  {{- end }}
{{- end -}}
