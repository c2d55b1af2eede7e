# Finds the alleles of a shard whose scores the store has. It needs no GPU. Only runs with a store need
# it.
rule lookup:
    input:
        windows="<results>/{variant_set}/{scoring}/windows/{scatteritem}.parquet",
        segments="<results>/{variant_set}/{scoring}/windows/{scatteritem}.segments.parquet",
        identity=collect(
            "<results>/{file}", file=lookup("{scoring}", within=inputs.identity)
        ),
        shards="<results>/{variant_set}/shards",
    output:
        hits="<results>/{variant_set}/{scoring}/hits/{scatteritem}.parquet",
        run="<results>/{variant_set}/{scoring}/hits/{scatteritem}.json",
    log:
        "<logs>/lookup/{variant_set}/{scoring}/{scatteritem}.log",
    benchmark:
        "<benchmarks>/lookup/{variant_set}/{scoring}/{scatteritem}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{variant_set}/{scoring}", within=settings.lookup),
    message:
        "Looking up scores: {wildcards.variant_set}, {wildcards.scoring}, {wildcards.scatteritem}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks lookup --config - --log {log:q}"
        " --variant-set {wildcards.variant_set:q} --scoring {wildcards.scoring:q}"
        " --windows {input.windows:q} --segments {input.segments:q}"
        " --split {input.shards:q}/split.json --identity {input.identity:q} --out {output.hits:q}"
