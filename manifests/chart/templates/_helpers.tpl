{{/* Labels of every object. */}}
{{- define "csi-model.labels" -}}
app.kubernetes.io/name: csi-model
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* What selects the pods of one part; never changes, since selectors can't. Call with "node" or "controller". */}}
{{- define "csi-model.selector" -}}
app.kubernetes.io/name: csi-model
app.kubernetes.io/component: {{ . }}
{{- end }}

{{- define "csi-model.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "csi-model.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* Directory of the plugin's socket on the node. */}}
{{- define "csi-model.pluginDir" -}}
{{ .Values.kubelet.rootDir | trimSuffix "/" }}/plugins/csi-model.io
{{- end }}

{{/*
Where the host's store.hostPath is seen in the agent's container. A directory that is mounted into a container is
always a mount point there, so store.requireMount can be checked only from the directory above it: that one is mounted
below /host, with whatever the host has mounted inside it.
*/}}
{{- define "csi-model.storeHome" -}}
{{- if .Values.store.requireMount -}}
/host{{ .Values.store.hostPath | trimSuffix "/" }}
{{- else -}}
{{ .Values.store.hostPath | trimSuffix "/" }}
{{- end -}}
{{- end }}

{{- define "csi-model.checkRequireMount" -}}
{{- $mount := .Values.store.requireMount | trimSuffix "/" -}}
{{- $path := .Values.store.hostPath | trimSuffix "/" -}}
{{- if and $mount (ne $path $mount) (not (hasPrefix (printf "%s/" $mount) $path)) -}}
{{- fail (printf "store.hostPath (%s) has to be store.requireMount (%s) or a directory inside it" $path $mount) -}}
{{- end -}}
{{- end }}

{{/* One word that comes late must not make a node gone. */}}
{{- define "csi-model.checkHeartbeat" -}}
{{- $heartbeat := .Values.steering.heartbeat | float64 -}}
{{- $silent := .Values.steering.silentAfter | float64 -}}
{{- if gt (mulf 2 $heartbeat) $silent -}}
{{- fail (printf "steering.silentAfter (%v) has to be twice steering.heartbeat (%v) or more" $silent $heartbeat) -}}
{{- end -}}
{{- end }}

{{/* Options that controller and node agent share. */}}
{{- define "csi-model.commonArgs" -}}
- --registry=kubernetes
- --http=:9808
- --log-level={{ .Values.logLevel }}
- --log-format={{ .Values.logFormat }}
{{- if .Values.caBundle.configMap }}
- --ca-bundle=/etc/csi-model/ca/{{ .Values.caBundle.key }}
{{- end }}
{{- range .Values.ambientAllow }}
- --ambient-allow={{ . }}
{{- end }}
{{- end }}

{{- define "csi-model.caMount" -}}
{{- if .Values.caBundle.configMap }}
- name: ca
  mountPath: /etc/csi-model/ca
  readOnly: true
{{- end }}
{{- end }}

{{- define "csi-model.caVolume" -}}
{{- with .Values.caBundle }}
{{- if .configMap }}
- name: ca
  configMap:
    name: {{ .configMap }}
    items:
      - key: {{ .key }}
        path: {{ .key }}
{{- end }}
{{- end }}
{{- end }}

{{/* Starting may mean moving a big store's leftovers aside; afterwards a probe is a real Probe through the socket. */}}
{{- define "csi-model.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 2
  timeoutSeconds: 3
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 5
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end }}
