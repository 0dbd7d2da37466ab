# The node for CPU (target `cpu`) and for NVIDIA cards (target `nvidia`):
#   docker build --target cpu -t dicom-node:cpu .
# PyPI's torch wheel for Linux runs on both; a site that wants the smaller CPU-only wheel gives pip its index:
#   docker build --target cpu --build-arg PIP_EXTRA_INDEX_URL=... -t dicom-node:cpu .
# The viewer's package as npm fetches it; its digest is checked where it is unpacked.
FROM node:22-bookworm-slim AS viewer
WORKDIR /viewer
RUN npm pack --ignore-scripts @ohif/app@3.13.2 && mv *.tgz package.tgz

FROM python:3.11-slim-bookworm AS node
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL} PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1
# LightGBM links the system's OpenMP runtime.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home node \
    && install -d -o node -g node /var/lib/dicom-node
WORKDIR /opt/dicom-node
# Dependencies first: they change less often than the code, and the lock holds every version.
COPY pyproject.toml README.md ./
COPY requirements ./requirements
RUN python -c "import tomllib; print('\n'.join(tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies']))" \
      >/tmp/dependencies.txt \
    && pip install -c requirements/lock.txt -r /tmp/dependencies.txt "setuptools>=69" \
    && rm /tmp/dependencies.txt
COPY models ./models
COPY inference ./inference
COPY structured_report ./structured_report
COPY phantom ./phantom
COPY training ./training
COPY bundle_import ./bundle_import
COPY dicom_node ./dicom_node
COPY orthanc_config ./orthanc_config
COPY best_models ./best_models
RUN pip install --no-deps --no-build-isolation -e .
RUN --mount=type=bind,from=viewer,source=/viewer,target=/mnt/viewer \
    dicom-node viewer install --from /mnt/viewer/package.tgz
ENV DICOM_NODE_DATA_FOLDER=/var/lib/dicom-node
USER node
VOLUME /var/lib/dicom-node
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["dicom-node"]
CMD ["run"]

FROM node AS cpu

FROM node AS nvidia
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility DICOM_NODE_WORKER__DEVICE=cuda
