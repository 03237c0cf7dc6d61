"""The lab: an embedded mesh to try `rollout` on. It shares nothing with the tool but its errors."""
