"""Generated protobuf stubs; only fedmed.wire imports them."""
