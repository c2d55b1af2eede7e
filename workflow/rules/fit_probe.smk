# Trains a probe: a linear model that predicts a label from embeddings and scores. Each layer of a scoring has
# a probe of its own. The predictions of the labelled rows come from folds.
rule fit_probe:
    input:
        table="<results>/{variant_set}/{scoring}/scores.parquet",
        embeddings=collect(
            "<results>/{file}",
            file=lookup(
                "{variant_set}/{scoring}/{probe}/{layer}",
                within=inputs.probes.embeddings,
            ),
        ),
        reference=lookup("{variant_set}", within=inputs.reference),
    output:
        probe="<results>/{variant_set}/{scoring}/probes/{probe}/{layer}/probe.json",
        weights="<results>/{variant_set}/{scoring}/probes/{probe}/{layer}/probe.safetensors",
        predictions="<results>/{variant_set}/{scoring}/probes/{probe}/{layer}/predictions.parquet",
    log:
        "<logs>/fit_probe/{variant_set}/{scoring}/{probe}/{layer}.log",
    benchmark:
        "<benchmarks>/fit_probe/{variant_set}/{scoring}/{probe}/{layer}.tsv"
    conda:
        "../../envs/probes.yaml"
    resources:
        mem_mb=jobs.probe_mem_mb,
        runtime=jobs.probe_runtime,
    params:
        config=jobs.config,
        settings=lookup(
            "{variant_set}/{scoring}/{probe}/{layer}", within=settings.fit_probe
        ),
        folder=subpath(output.probe, parent=True),
    message:
        "Training the probe {wildcards.probe}: {wildcards.variant_set}, {wildcards.scoring},"
        " {wildcards.layer}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks fit-probe --config - --log {log:q}"
        " --variant-set {wildcards.variant_set:q} --scoring {wildcards.scoring:q}"
        " --probe {wildcards.probe:q} --layer {wildcards.layer:q} --table {input.table:q}"
        " --out {params.folder:q} {input.embeddings:q}"
