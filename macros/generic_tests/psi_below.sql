{#
  The bins or categories of a column, with the contribution of each, if the population stability index (PSI) of its
  distribution against a stored baseline reaches `threshold`. Below 0.1 is a small change, from 0.25 on a large one.

    columns:
      - name: wind_speed
        data_tests:
          - featurelayer.psi_below: {arguments: {baseline: ref('feature_baselines')}}
      - name: carrier
        data_tests:
          - featurelayer.psi_below: {arguments: {baseline: ref('feature_baselines'), categorical: true}}

  `featurelayer monitor --write-seed seeds/feature_baselines.csv` writes the baseline; a model with its columns (view,
  feature, bin, above, up_to, category, row_count) does as well. With fewer than `minimum_rows` values on either side
  nothing is compared. A baseline that lacks the column fails the test, with one row of NULLs.
#}
{% test psi_below(model, column_name, baseline, threshold=0.25, minimum_rows=500, categorical=false, view=none, feature=none) %}
    {{ return(adapter.dispatch('test_psi_below', 'featurelayer')(model, column_name, baseline, threshold, minimum_rows, categorical, view, feature)) }}
{% endtest %}

{% macro default__test_psi_below(model, column_name, baseline, threshold, minimum_rows, categorical, view, feature) %}
    {%- set view = view or featurelayer._tested_view().name -%}
    {%- set double, text = featurelayer._double(), dbt.type_string() -%}
with baseline_bins as (
    select
        cast(bin as {{ text }}) as bin,
        cast(above as {{ double }}) as above,
        cast(up_to as {{ double }}) as up_to,
        cast(category as {{ text }}) as category,
        cast(row_count as {{ double }}) as baseline_rows
    from {{ baseline }}
    where view = '{{ view }}' and feature = '{{ feature or column_name }}'
),

counted as (
{%- if categorical %}
    select
        coalesce(baseline_bins.category, found.category) as bin,
        coalesce(baseline_bins.baseline_rows, 0) as baseline_rows,
        coalesce(found.found_rows, 0) as found_rows
    from baseline_bins
    full outer join (
        select cast({{ column_name }} as {{ text }}) as category, count(*) as found_rows
        from {{ model }}
        where {{ column_name }} is not null
        group by 1
    ) as found
        on found.category = baseline_bins.category
{%- else %}
    select baseline_bins.bin, baseline_bins.baseline_rows, count(found.value) as found_rows
    from baseline_bins
    left join (
        select cast({{ column_name }} as {{ double }}) as value
        from {{ model }}
        where abs(cast({{ column_name }} as {{ double }})) <= 1e150
    ) as found
        on (baseline_bins.above is null or found.value > baseline_bins.above)
        and (baseline_bins.up_to is null or found.value <= baseline_bins.up_to)
    group by baseline_bins.bin, baseline_bins.baseline_rows
{%- endif %}
),

totals as (
    select sum(baseline_rows) as all_baseline_rows, sum(found_rows) as all_found_rows from counted
),

-- An empty bin counts as one row in ten thousand, or its logarithm would be infinite.
shares as (
    select
        counted.bin,
        case
            when counted.baseline_rows / all_baseline_rows < 0.0001 then 0.0001
            else counted.baseline_rows / all_baseline_rows
        end as baseline_share,
        case
            when cast(counted.found_rows as {{ double }}) / all_found_rows < 0.0001 then 0.0001
            else cast(counted.found_rows as {{ double }}) / all_found_rows
        end as found_share
    from counted
    cross join totals
    where all_baseline_rows >= {{ minimum_rows }} and all_found_rows >= {{ minimum_rows }}
),

parts as (
    select
        bin,
        baseline_share / sum(baseline_share) over () as baseline_share,
        found_share / sum(found_share) over () as found_share
    from shares
),

weighed as (
    select
        bin,
        baseline_share,
        found_share,
        (baseline_share - found_share) * ln(baseline_share / found_share) as contribution,
        sum((baseline_share - found_share) * ln(baseline_share / found_share)) over () as psi
    from parts
)

select bin, baseline_share, found_share, contribution, psi
from weighed
where psi >= {{ threshold }}

union all

select
    cast(null as {{ text }}),
    cast(null as {{ double }}),
    cast(null as {{ double }}),
    cast(null as {{ double }}),
    cast(null as {{ double }})
from (select count(*) as bins from baseline_bins) as known
where bins = 0
{% endmacro %}
