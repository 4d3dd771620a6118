# One image for api, projector, worker and migrate; docker-compose.yml says which runs what.
# The locked versions and their hashes are what `make` installs too, without the tools of development.

FROM python:3.11-slim AS build
RUN python -m venv /opt/ballotpress && pip install --no-cache-dir --disable-pip-version-check uv==0.13.9
WORKDIR /src
COPY pyproject.toml requirements.lock README.md ./
COPY emails emails
COPY events events
COPY projections projections
COPY services services
RUN uv pip install --no-cache --python /opt/ballotpress/bin/python --verify-hashes \
        --constraints requirements.lock --build-constraints requirements.lock .

FROM python:3.11-slim
RUN useradd --system --user-group --no-create-home --shell /usr/sbin/nologin ballotpress
COPY --from=build /opt/ballotpress /opt/ballotpress
ENV PATH=/opt/ballotpress/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /var/lib/ballotpress
USER ballotpress
EXPOSE 8000
ENTRYPOINT ["ballotpress"]
CMD ["api", "--host", "0.0.0.0"]
