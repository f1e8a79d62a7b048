select
    flight_id,
    tailnum,
    carrier,
    origin,
    dest,
    scheduled_hour as hour,
    scheduled_at - interval '2' hour as predicted_at,
    scheduled_at,
    cast(extract(month from scheduled_local) as integer) as month,
    cast(extract(isodow from scheduled_local) as integer) as day_of_week,
    cast({{ dbt.datediff('scheduled_at', 'scheduled_arrival_at', 'minute') }} as integer) as scheduled_minutes,
    cast(distance as integer) as distance,
    arr_delay >= 15 as is_late
from {{ ref('stg_flights') }}
where arr_delay is not null
