"""Why does mutual TLS not work here? One file per layer, pure over what was read."""
