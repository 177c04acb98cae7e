{{- define "nexus.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* 40 characters: hosts get a number, services and jobs a word, and all must stay within 63. */}}
{{- define "nexus.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "nexus.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "nexus.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "nexus.headless" -}}
{{- printf "%s-headless" (include "nexus.fullname" .) -}}
{{- end -}}

{{- define "nexus.image" -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}

{{- define "nexus.selector" -}}
app.kubernetes.io/name: {{ include "nexus.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "nexus.labels" -}}
{{ include "nexus.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The cluster key's Secret. Without a key the hosts would not start, so say it before anything is installed. */}}
{{- define "nexus.clusterKeySecret" -}}
{{- if and .Values.clusterKey.existingSecret .Values.clusterKey.value -}}
{{- fail "clusterKey.existingSecret and clusterKey.value are both set: set one of them" -}}
{{- else if .Values.clusterKey.existingSecret -}}
{{- .Values.clusterKey.existingSecret -}}
{{- else if .Values.clusterKey.value -}}
{{- printf "%s-cluster-key" (include "nexus.fullname" .) -}}
{{- else -}}
{{- fail "no cluster key: openssl rand -hex 32 | kubectl create secret generic nexus-cluster-key --from-file=cluster.key=/dev/stdin, then set clusterKey.existingSecret=nexus-cluster-key" -}}
{{- end -}}
{{- end -}}

{{- define "nexus.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities: {drop: [ALL]}
{{- end -}}
