# docker build -t hsivi-bench .
# mkdir -p out
# docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/out:/out" hsivi-bench make reproduce SCALE=smoke
#
# The packages of constraints.txt, as "make" installs them, without the tools of the extra dev.  Results, reports,
# downloads and what Snakemake remembers lie in /out, so that a second run goes on there.
# What was tried with it, and what not, is in docs/cluster.md.
FROM python:3.11-slim-bookworm

# Versions of Debian's packages are those of its release; pinned ones vanish from the mirrors with every correction.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make rsync tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 hsivi \
    && mkdir /out \
    && chown hsivi /out

WORKDIR /hsivi-bench
# First what changes seldom: an edit of the code installs nothing again.
COPY pyproject.toml constraints.txt README.md Makefile ./
RUN PIP_NO_CACHE_DIR=1 make environment EXTRA=run,cluster

COPY . .

# Whoever is named by --user has neither a home nor a name here; Snakemake asks for the name.
ENV PATH=/hsivi-bench/.venv/bin:$PATH \
    PYTHONPATH=/hsivi-bench \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    LOGNAME=hsivi \
    HSIVI_CACHE_DIR=/out/cache
# Snakemake remembers beside the Snakefile what has been made how; the link lets it do so in /out.  What is installed is
# newer than what says so, even where the packages come from an earlier build and the checkout is fresh: "make" must not
# install again.
RUN touch .venv/installed \
    && ln -s /out/.snakemake .snakemake

USER 1000
VOLUME /out
# As the first process, make would keep Ctrl-C and "docker stop" to itself: tini hands them to all processes of the run.
STOPSIGNAL SIGINT
# Pods have commands of their own and leave this out: their results go through Snakemake's storage.
ENTRYPOINT ["tini", "-g", "--", "/bin/sh", "-c", "mkdir -p /out/.snakemake && exec env HSIVI_RESULTS=/out/results HSIVI_REPORTS=/out/reports \"$@\"", "--"]
CMD ["make", "reproduce"]
