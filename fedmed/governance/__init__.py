"""A province's rules: policy and audit-chain format."""
