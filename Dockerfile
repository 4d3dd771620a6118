# One image for migrate, api, projector and worker; docker-compose.yml says which runs what.
# Every package comes by requirements.lock, uv and setuptools among them: one whose hash is wrong or missing ends the build.

FROM python:3.11.14-slim AS build
# What the image has besides: "--extra otel --extra archive" for a log whose old parts are archived.
ARG EXTRAS="--extra otel"
WORKDIR /src
COPY pyproject.toml requirements.lock ./
RUN sed -n '/^uv==/,/[^\]$/p' requirements.lock > uv.lock \
    && pip install --no-cache-dir --disable-pip-version-check --require-hashes -r uv.lock
RUN python -m venv --without-pip /opt/ballotpress \
    && uv pip install --no-cache --compile-bytecode --python /opt/ballotpress/bin/python \
        --require-hashes --constraints requirements.lock -r pyproject.toml ${EXTRAS}
COPY LICENSE README.md ./
COPY emails emails
COPY events events
COPY projections projections
COPY services services
RUN uv pip install --no-cache --compile-bytecode --python /opt/ballotpress/bin/python \
        --no-deps --build-constraints requirements.lock .

FROM python:3.11.14-slim
# FriBiDi, which Pillow loads to lay out names in Arabic, Hebrew, Devanagari and Thai on share cards.
RUN apt-get update && apt-get install -y --no-install-recommends libfribidi0 && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin ballotpress
COPY --from=build /opt/ballotpress /opt/ballotpress
ENV PATH=/opt/ballotpress/bin:$PATH PYTHONUNBUFFERED=1
RUN install -d -o ballotpress -g ballotpress -m 0700 /var/lib/ballotpress/.ballotpress
WORKDIR /var/lib/ballotpress
USER ballotpress
EXPOSE 8000
ENTRYPOINT ["ballotpress"]
CMD ["api", "--host", "0.0.0.0"]
