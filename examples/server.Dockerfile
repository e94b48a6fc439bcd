# The reward server in a container, built from the root of the repository:
#
#   docker build -f examples/server.Dockerfile -t librehps-serve .
#   openssl rand -hex 32 > token
#   docker run --gpus all -p 8000:8000 -v "$PWD/token:/run/secrets/librehps-token:ro" \
#     -v librehps-models:/models -e LIBREHPS_MODEL=LibreHPS/LibreHPS-4B-v1.1 librehps-serve \
#     --download --allowed-host scores.example
#
# The token must be readable by user 10001. --allowed-host gives a name that clients call the server
# by; without it, they can be on this machine only. A model that is a hub id needs --download, and
# is kept in /models; leave LIBREHPS_MODEL at a folder in it, or at tiny, where the container has no
# network.
FROM python:3.12-slim

RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin librehps \
    && mkdir /models && chown librehps /models
WORKDIR /src

COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY core ./core
COPY librehps_cli ./librehps_cli
# torch's wheel for Linux brings CUDA along; for a CPU-only image add
# --extra-index-url https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir -c constraints.txt '.[serve]' && rm -rf /src/*

USER librehps
WORKDIR /home/librehps
ENV HF_HOME=/models PYTHONUNBUFFERED=1 LIBREHPS_MODEL=tiny
EXPOSE 8000
# /readyz needs no token and no name of a host; python, since the slim image has no curl.
HEALTHCHECK --interval=30s --timeout=5s --start-period=180s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
# docker run -e LIBREHPS_SERVE_<FLAG>=.. and flags after the image's name override these.
ENV LIBREHPS_SERVE_HOST=0.0.0.0 LIBREHPS_SERVE_PORT=8000 \
    LIBREHPS_SERVE_TOKEN_FILE=/run/secrets/librehps-token
ENTRYPOINT ["librehps", "serve"]
