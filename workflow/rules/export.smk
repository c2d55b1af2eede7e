# Writes the table in other formats, where a variant set asks for it by `exports`.
rule export_vcf:
    input:
        table="<results>/{variant_set}/{scoring}/scores.parquet",
        variants=local(lookup("{variant_set}", within=inputs.variants)),
    output:
        vcf="<results>/{variant_set}/{scoring}/scores.vcf.gz",
    log:
        "<logs>/export_vcf/{variant_set}/{scoring}.log",
    benchmark:
        "<benchmarks>/export_vcf/{variant_set}/{scoring}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    message:
        "Writing VCF: {wildcards.variant_set}, {wildcards.scoring}"
    shell:
        "evo2-tasks export --log {log:q} --to vcf --variants {input.variants:q}"
        " --out {output.vcf:q} -- {input.table:q}"


rule export_tsv:
    input:
        table="<results>/{variant_set}/{scoring}/scores.parquet",
    output:
        tsv="<results>/{variant_set}/{scoring}/scores.tsv",
    log:
        "<logs>/export_tsv/{variant_set}/{scoring}.log",
    benchmark:
        "<benchmarks>/export_tsv/{variant_set}/{scoring}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    message:
        "Writing TSV: {wildcards.variant_set}, {wildcards.scoring}"
    shell:
        "evo2-tasks export --log {log:q} --to tsv"
        " --out {output.tsv:q} -- {input.table:q}"


rule export_bedgraph:
    input:
        table="<results>/{variant_set}/{scoring}/scores.parquet",
    output:
        bedgraph="<results>/{variant_set}/{scoring}/scores.bedgraph.gz",
    log:
        "<logs>/export_bedgraph/{variant_set}/{scoring}.log",
    benchmark:
        "<benchmarks>/export_bedgraph/{variant_set}/{scoring}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    message:
        "Writing bedGraph: {wildcards.variant_set}, {wildcards.scoring}"
    shell:
        "evo2-tasks export --log {log:q} --to bedgraph"
        " --out {output.bedgraph:q} -- {input.table:q}"
