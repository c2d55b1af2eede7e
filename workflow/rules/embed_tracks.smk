# Sums the outputs of layers over the regions of a shard. Only scorings with `embeddings` need it. Like score,
# it needs torch. It does not touch the tracks of score_tracks.
rule embed_tracks:
    input:
        tiles="<results>/{track_set}/{scoring}/tiles",
        regions=lookup("{track_set}", within=inputs.tracks.regions),
        checkpoint=lookup("{scoring}", within=inputs.checkpoint),
        fetched=collect(
            "<results>/{file}", file=lookup("{scoring}", within=inputs.hub_files)
        ),
    output:
        embeddings="<results>/{track_set}/{scoring}/track_embeddings/{scatteritem}.parquet",
        run="<results>/{track_set}/{scoring}/track_embeddings/{scatteritem}.json",
    log:
        "<logs>/embed_tracks/{track_set}/{scoring}/{scatteritem}.log",
    benchmark:
        "<benchmarks>/embed_tracks/{track_set}/{scoring}/{scatteritem}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: 1
    resources:
        gpu=jobs.gpu,
        mem_mb=jobs.tracks_mem_mb,
        runtime=jobs.tracks_runtime,
    params:
        config=jobs.config,
        settings=jobs.embed_tracks_settings,
    message:
        "Embedding regions: {wildcards.track_set}, {wildcards.scoring}, {wildcards.scatteritem}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks embed-tracks --config - --log {log:q}"
        " --track-set {wildcards.track_set:q} --scoring {wildcards.scoring:q} --threads {threads}"
        " --tiles {input.tiles:q}/{wildcards.scatteritem:q}.parquet"
        " --segments {input.tiles:q}/{wildcards.scatteritem:q}.segments.parquet"
        " --regions {input.tiles:q}/regions.parquet"
        " --out {output.embeddings:q}"
