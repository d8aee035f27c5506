# An image for Spark on Kubernetes: Spark's own, with the environment of `make bundle` and its compiled kernels.
#   docker build --tag REGISTRY/graphquilt .
# The environment is made on an older glibc than that of any image that Spark 4 comes in, so that all can load it.
# On aarch64: --build-arg BUILD_IMAGE=quay.io/pypa/manylinux_2_28_aarch64
ARG BUILD_IMAGE=quay.io/pypa/manylinux_2_28_x86_64
ARG SPARK_IMAGE=apache/spark:4.1.2-scala2.13-java17-ubuntu

FROM ${BUILD_IMAGE} AS bundle
WORKDIR /source
COPY . .
RUN make bundle PYTHON=/opt/python/cp312-cp312/bin/python && \
    mkdir environment && \
    tar -C environment -xzf build/bundle/environment.tar.gz

FROM ${SPARK_IMAGE}
COPY --from=bundle /source/environment /opt/graphquilt
COPY --from=bundle /source/build/bundle/jobs /opt/graphquilt/jobs
ENV PATH="/opt/graphquilt/bin:${PATH}" \
    PYSPARK_PYTHON=/opt/graphquilt/bin/python \
    PYSPARK_DRIVER_PYTHON=/opt/graphquilt/bin/python
# The files stay root's: Spark's user, 185, reads the kernels and can't change them. A number, for runAsNonRoot.
USER 185
