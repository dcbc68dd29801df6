# The gateway and the simulators in one small image.
FROM rust:1-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --workspace

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/ringback --create-home ringback
COPY --from=build /src/target/release/ringback /src/target/release/carrier-sim /usr/local/bin/
COPY prompts /etc/ringback/prompts
COPY routes /etc/ringback/routes
COPY carriers /etc/ringback/carriers
COPY ringback.toml /etc/ringback/ringback.toml
RUN install -d -o ringback -g ringback /etc/ringback/data
USER ringback
WORKDIR /etc/ringback
ENTRYPOINT ["ringback"]
CMD ["run", "--config", "/etc/ringback/ringback.toml"]
