# Runs the model on the two windows of each allele of a shard, for scorings without read-outs. Only this
# step, score_readouts and fetch need torch.
rule score:
    input:
        windows="<results>/{variant_set}/{scoring}/windows/{scatteritem}.parquet",
        segments="<results>/{variant_set}/{scoring}/windows/{scatteritem}.segments.parquet",
        checkpoint=lookup("{scoring}", within=inputs.checkpoint),
        fetched=collect(
            "<results>/{file}", file=lookup("{scoring}", within=inputs.hub_files)
        ),
        # Next to the folder of the scores, where the command finds them; only with a store. The
        # first ones decide whether the job needs a GPU.
        hits=collect("<results>/{file}", file=jobs.hits),
        compared_hits=collect("<results>/{file}", file=jobs.compared_hits),
    output:
        scores="<results>/{variant_set}/{scoring}/scores/{scatteritem}.parquet",
        run="<results>/{variant_set}/{scoring}/scores/{scatteritem}.json",
    log:
        "<logs>/score/{variant_set}/{scoring}/{scatteritem}.log",
    benchmark:
        "<benchmarks>/score/{variant_set}/{scoring}/{scatteritem}.tsv"
    wildcard_constraints:
        variant_set=jobs.made_by.score,
    conda:
        "../../envs/gpu.yaml"
    # One thread scores the most alleles per core: run more shards at once, not more threads in one.
    threads: 1
    resources:
        gpu=jobs.gpu,
        mem_mb=jobs.score_mem_mb,
        runtime=jobs.score_runtime,
    params:
        config=jobs.config,
        settings=lookup("{scoring}", within=settings.score),
    message:
        "Scoring: {wildcards.variant_set}, {wildcards.scoring}, {wildcards.scatteritem}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks score --config - --log {log:q}"
        " --scoring {wildcards.scoring:q} --threads {threads}"
        " --windows {input.windows:q} --segments {input.segments:q} --out {output.scores:q}"
