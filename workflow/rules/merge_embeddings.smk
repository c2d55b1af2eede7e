# Combines the embeddings of a layer of all shards into one table. Only scorings with `embeddings` need it.
rule merge_embeddings:
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
        table="<results>/{variant_set}/{scoring}/embeddings/{layer}.parquet",
        run="<results>/{variant_set}/{scoring}/embeddings/{layer}.json",
    log:
        "<logs>/merge_embeddings/{variant_set}/{scoring}/{layer}.log",
    benchmark:
        "<benchmarks>/merge_embeddings/{variant_set}/{scoring}/{layer}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{scoring}/{layer}", within=settings.merge_embeddings),
        folder=subpath(input.shards, parent=True),
    message:
        "Merging embeddings: {wildcards.variant_set}, {wildcards.scoring}, {wildcards.layer}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks merge-embeddings --config - --log {log:q}"
        " --variant-set {wildcards.variant_set:q} --scoring {wildcards.scoring:q} --layer {wildcards.layer:q}"
        " --split {input.shards:q}/split.json"
        " --windows {params.folder:q}/{wildcards.scoring:q}/windows"
        " --scores {params.folder:q}/{wildcards.scoring:q}/scores"
        " --readouts {params.folder:q}/{wildcards.scoring:q}/readouts"
        " --out {output.table:q} --run-json {output.run:q}"
