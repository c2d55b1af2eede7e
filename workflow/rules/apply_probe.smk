# Predicts the alleles of a variant set with a probe of another set or of an earlier run, which has to have the
# same signature, layer and tokens.
rule apply_probe:
    input:
        table="<results>/{variant_set}/{scoring}/scores.parquet",
        # Those of all layers: the file of the probe states which one it uses.
        embeddings=collect(
            "<results>/{file}",
            file=lookup(
                "{variant_set}/{scoring}", within=inputs.probes.applied_embeddings
            ),
        ),
        trained=collect(
            "<results>/{file}",
            file=lookup(
                "{variant_set}/{scoring}/{probe}", within=inputs.probes.trained
            ),
        ),
        # Next to it, where the command finds it.
        weights=collect(
            "<results>/{file}",
            file=lookup(
                "{variant_set}/{scoring}/{probe}", within=inputs.probes.weights
            ),
        ),
        trained_file=lookup(
            "{variant_set}/{scoring}/{probe}", within=inputs.probes.trained_file
        ),
        weights_file=lookup(
            "{variant_set}/{scoring}/{probe}", within=inputs.probes.weights_file
        ),
        reference=lookup("{variant_set}", within=inputs.reference),
    output:
        predictions="<results>/{variant_set}/{scoring}/probes/{probe}/applied.parquet",
    log:
        "<logs>/apply_probe/{variant_set}/{scoring}/{probe}.log",
    benchmark:
        "<benchmarks>/apply_probe/{variant_set}/{scoring}/{probe}.tsv"
    conda:
        "../../envs/probes.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{variant_set}/{scoring}/{probe}", within=settings.apply_probe),
    message:
        "Applying the probe {wildcards.probe}: {wildcards.variant_set}, {wildcards.scoring}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks apply-probe --config - --log {log:q}"
        " --variant-set {wildcards.variant_set:q} --scoring {wildcards.scoring:q}"
        " --probe {wildcards.probe:q} --trained {input.trained:q} {input.trained_file:q}"
        " --table {input.table:q} --out {output.predictions:q} {input.embeddings:q}"
