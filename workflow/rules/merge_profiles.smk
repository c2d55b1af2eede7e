# Combines the profiles of all shards into one table. Only scorings with `profile` need it.
rule merge_profiles:
    input:
        windows=gather.shard(
            "<results>/{{variant_set}}/{{scoring}}/windows/{scatteritem}.parquet"
        ),
        scores=gather.shard(
            "<results>/{{variant_set}}/{{scoring}}/scores/{scatteritem}.parquet"
        ),
        readouts=gather.shard(
            "<results>/{{variant_set}}/{{scoring}}/readouts/{scatteritem}"
        ),
        shards="<results>/{variant_set}/shards",
    output:
        table="<results>/{variant_set}/{scoring}/profiles.parquet",
        run="<results>/{variant_set}/{scoring}/profiles.json",
    log:
        "<logs>/merge_profiles/{variant_set}/{scoring}.log",
    benchmark:
        "<benchmarks>/merge_profiles/{variant_set}/{scoring}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{scoring}", within=settings.merge_profiles),
        folder=subpath(input.shards, parent=True),
    message:
        "Merging profiles: {wildcards.variant_set}, {wildcards.scoring}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks merge-profiles --config - --log {log:q}"
        " --variant-set {wildcards.variant_set:q} --scoring {wildcards.scoring:q}"
        " --split {input.shards:q}/split.json"
        " --windows {params.folder:q}/{wildcards.scoring:q}/windows"
        " --scores {params.folder:q}/{wildcards.scoring:q}/scores"
        " --readouts {params.folder:q}/{wildcards.scoring:q}/readouts"
        " --out {output.table:q} --run-json {output.run:q}"
