//! Lets gRPC C-core clients in: their `:authority` is not one that HTTP/2 allows.
