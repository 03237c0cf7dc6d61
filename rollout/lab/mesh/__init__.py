"""The simulated mesh: istiod, sidecars, callers, kubelet and controllers, driven by API objects and virtual time.

It shares no code with the tool: it builds filter chains as Istio does and lets connections match them, so that
an error in the tool's own reading of the rules shows as a disagreement. `facts/observed.md` judges both.
"""
