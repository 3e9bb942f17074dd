# What External Secrets may do for kgents: read the values, and write or list nothing.
path "secret/data/kgents/*" {
  capabilities = ["read"]
}
