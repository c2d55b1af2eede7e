# Runs the model on the distinct pairs of windows of a shard: each allele beside each set of neighbours,
# and the alleles that are scored together. The command is that of the rule score.
rule score_haplotypes:
    input:
        pairs="<results>/{variant_set}/{scoring}/haplotypes",
        checkpoint=lookup("{scoring}", within=inputs.checkpoint),
        fetched=collect(
            "<results>/{file}", file=lookup("{scoring}", within=inputs.hub_files)
        ),
    output:
        scores="<results>/{variant_set}/{scoring}/haplotype_scores/{scatteritem}.parquet",
        run="<results>/{variant_set}/{scoring}/haplotype_scores/{scatteritem}.json",
    log:
        "<logs>/score_haplotypes/{variant_set}/{scoring}/{scatteritem}.log",
    benchmark:
        "<benchmarks>/score_haplotypes/{variant_set}/{scoring}/{scatteritem}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: 1
    resources:
        gpu=jobs.gpu,
        mem_mb=jobs.pairs_mem_mb,
        runtime=jobs.pairs_runtime,
    params:
        config=jobs.config,
        settings=lookup("{scoring}", within=settings.score),
    message:
        "Scoring haplotypes: {wildcards.variant_set}, {wildcards.scoring}, {wildcards.scatteritem}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks score --config - --log {log:q}"
        " --scoring {wildcards.scoring:q} --threads {threads}"
        " --windows {input.pairs:q}/{wildcards.scatteritem:q}.parquet"
        " --segments {input.pairs:q}/{wildcards.scatteritem:q}.segments.parquet"
        " --out {output.scores:q}"
