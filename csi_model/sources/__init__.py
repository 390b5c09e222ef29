"""Where bytes come from. Knows no disk layout, no volume and no Kubernetes."""
