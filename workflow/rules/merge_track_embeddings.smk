# Combines the embeddings of a layer of all shards into one table with a row for each line of the regions.
rule merge_track_embeddings:
    input:
        tiles="<results>/{track_set}/{scoring}/tiles",
        embeddings=gather.shard(
            "<results>/{{track_set}}/{{scoring}}/track_embeddings/{scatteritem}.parquet"
        ),
        runs=gather.shard(
            "<results>/{{track_set}}/{{scoring}}/track_embeddings/{scatteritem}.json"
        ),
    output:
        table="<results>/{track_set}/{scoring}/embeddings/{layer}.parquet",
        run="<results>/{track_set}/{scoring}/embeddings/{layer}.json",
    log:
        "<logs>/merge_track_embeddings/{track_set}/{scoring}/{layer}.log",
    benchmark:
        "<benchmarks>/merge_track_embeddings/{track_set}/{scoring}/{layer}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup(
            "{track_set}/{scoring}/{layer}",
            within=settings.merge_track_embeddings,
        ),
        folder=subpath(input.tiles, parent=True),
    message:
        "Merging embeddings of regions: {wildcards.track_set}, {wildcards.scoring}, {wildcards.layer}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks merge-track-embeddings --config - --log {log:q}"
        " --track-set {wildcards.track_set:q} --scoring {wildcards.scoring:q}"
        " --layer {wildcards.layer:q} --tiles {input.tiles:q}"
        " --embeddings {params.folder:q}/track_embeddings"
        " --out {output.table:q} --run-json {output.run:q}"
