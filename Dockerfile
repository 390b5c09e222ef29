# One image for the controller and the node agent. Needs only a Python >= 3.11 with venv and pip: no package manager of
# the distribution runs. Build it with `make image`.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS builder
ENV PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_COMPILE=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# The tools stay in this stage, and so does pip: what is delivered lies in a virtual environment without it.
COPY requirements.lock requirements-build.lock ./
RUN python3 -m venv tools \
 && tools/bin/pip install --require-hashes --only-binary :all: -r requirements-build.lock \
 && python3 -m venv --without-pip /opt/csi-model \
 && tools/bin/pip --python /opt/csi-model/bin/python install --require-hashes --only-binary :all: -r requirements.lock

# The wheel with the gRPC code, generated from csi-spec/. `pip check`: the generated code accepts the locked runtime.
COPY . .
RUN tools/bin/python -m hatchling build --target wheel \
 && tools/bin/pip --python /opt/csi-model/bin/python install --no-deps --no-index dist/*.whl \
 && tools/bin/pip --python /opt/csi-model/bin/python check

# Smaller: no tests of dependencies, no second Kubernetes client for asyncio, none of botocore's descriptions of services
# that are neither S3 nor a way to credentials. Compiled ahead, as the root file system is read-only.
RUN cd /opt/csi-model/lib/python3.*/site-packages \
 && find . -depth -type d \( -name tests -o -name test \) -exec rm -rf {} + \
 && rm -rf kubernetes/aio \
 && find botocore/data -mindepth 1 -maxdepth 1 -type d \
      ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name signin -exec rm -rf {} + \
 && /opt/csi-model/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash . \
 && /opt/csi-model/bin/python -c 'import kubernetes.client, kubernetes.config, botocore.session as b; b.Session().create_client("s3", region_name="x")' \
 && /opt/csi-model/bin/csi-model --version

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="csi-model" \
      org.opencontainers.image.description="A CSI driver for model volumes: verified whole copies of model weights on the node's local disk" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/csi-model/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/nonexistent
COPY --from=builder /opt/csi-model /opt/csi-model
WORKDIR /
# The chart runs the node agent as root, since it mounts; everything else runs as nobody in particular.
USER 65532:65532
ENTRYPOINT ["csi-model"]
CMD ["--help"]
