# Gives each allele its window and status, and collects the reference bases of the windows.
rule windows:
    input:
        shards="<results>/{variant_set}/shards",
        reference=lookup("{variant_set}", within=inputs.reference),
        genotypes=lookup("{variant_set}", within=inputs.genotypes),
    output:
        windows="<results>/{variant_set}/{scoring}/windows/{scatteritem}.parquet",
        segments="<results>/{variant_set}/{scoring}/windows/{scatteritem}.segments.parquet",
    log:
        "<logs>/windows/{variant_set}/{scoring}/{scatteritem}.log",
    benchmark:
        "<benchmarks>/windows/{variant_set}/{scoring}/{scatteritem}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{variant_set}/{scoring}", within=settings.windows),
    message:
        "Placing windows: {wildcards.variant_set}, {wildcards.scoring}, {wildcards.scatteritem}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks windows --config - --log {log:q}"
        " --variant-set {wildcards.variant_set:q} --scoring {wildcards.scoring:q}"
        " --shard {input.shards:q}/{wildcards.scatteritem:q}.parquet --split {input.shards:q}/split.json"
        " --out {output.windows:q} --segments {output.segments:q}"
