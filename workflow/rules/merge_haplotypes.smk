# Gives each allele of each sample its scores alone and beside its neighbours, and each compound its
# scores. The table of the scoring stays as it is.
rule merge_haplotypes:
    input:
        table="<results>/{variant_set}/{scoring}/scores.parquet",
        run="<results>/{variant_set}/{scoring}/run.json",
        pairs="<results>/{variant_set}/{scoring}/haplotypes",
        scores=gather.shard(
            "<results>/{{variant_set}}/{{scoring}}/haplotype_scores/{scatteritem}.parquet"
        ),
        runs=gather.shard(
            "<results>/{{variant_set}}/{{scoring}}/haplotype_scores/{scatteritem}.json"
        ),
        # For the joint consequences, if the reference has genes.
        joint=lookup("{variant_set}", within=inputs.joint),
    output:
        haplotypes="<results>/{variant_set}/{scoring}/haplotypes.parquet",
        compounds="<results>/{variant_set}/{scoring}/compounds.parquet",
        run="<results>/{variant_set}/{scoring}/haplotypes.json",
    log:
        "<logs>/merge_haplotypes/{variant_set}/{scoring}.log",
    benchmark:
        "<benchmarks>/merge_haplotypes/{variant_set}/{scoring}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{variant_set}/{scoring}", within=settings.merge_haplotypes),
        folder=subpath(output.haplotypes, parent=True),
    message:
        "Merging haplotypes: {wildcards.variant_set}, {wildcards.scoring}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks merge-haplotypes --config - --log {log:q}"
        " --variant-set {wildcards.variant_set:q} --scoring {wildcards.scoring:q}"
        # In the folder of the table: the alleles, which `run.json` states too.
        " --table {input.table:q} --pairs {input.pairs:q}"
        " --scores {params.folder:q}/haplotype_scores"
        " --out {output.haplotypes:q} --compounds {output.compounds:q} --run-json {output.run:q}"
