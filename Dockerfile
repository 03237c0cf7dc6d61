# The runner of `rollout job`: docker build -t rollout:VERSION .
# Python 3.12: from 3.13 on a certificate authority without key identifiers is refused, and clusters have such ones.
# Renew tag, digest and .ci/image-constraints.txt together.
ARG PYTHON=python:3.12.11-slim-bookworm@sha256:519591d6871b7bc437060736b9f7456b8731f1499a57e22e6c285135ae657bf7

FROM ${PYTHON} AS build
WORKDIR /src
COPY .ci/image-constraints.txt pyproject.toml README.md LICENSE ./
COPY rollout rollout
COPY playbooks playbooks
RUN python -m venv /opt/rollout \
 && PIP_CONSTRAINT=image-constraints.txt /opt/rollout/bin/pip install --no-cache-dir --no-compile . \
 && /opt/rollout/bin/rollout version

FROM ${PYTHON}
COPY --from=build /opt/rollout /opt/rollout
ENV PATH=/opt/rollout/bin:$PATH PYTHONDONTWRITEBYTECODE=1 HOME=/var/lib/rollout XDG_STATE_HOME=/var/lib/rollout
RUN install -d -m 0700 -o 65532 -g 65532 /var/lib/rollout
USER 65532:65532
WORKDIR /var/lib/rollout
ENTRYPOINT ["rollout"]
